// Package preflight looks whether Sequin will do what this release needs of it:
// its file, the database it reads, and the server that runs.
//
// Promise: each finding says what is wrong, why that matters and what to do; a
//
//	file, a database and a server that are as they are shipped give none. No
//	finding holds a secret. Nothing is changed anywhere.
//
// State:   none.
// Failure: what cannot be read is no finding but an error: nothing is known then.
package preflight

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/internal/bridge"
	"github.com/finnest/event-runtime/internal/credential"
	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/sequin"
)

// Finding is one thing that is not as it must be.
type Finding struct {
	Where string `json:"where"` // a key of the file, a thing in the database, a key of what runs
	What  string `json:"what"`
	Why   string `json:"why"`
	Do    string `json:"do"`
}

// Shape is which of the two shipped files a file is.
type Shape string

// Shapes.
const (
	NATS    Shape = "nats"   // sequin.yaml
	Bridge  Shape = "bridge" // sequin.bridge.yaml
	Neither Shape = ""
)

// Outbox is the table that is carried.
const Outbox = "event_runtime.outbox"

// File is a configuration file of Sequin's, read.
type File struct {
	Shape  Shape
	parsed *manifest.File
	raw    tree
}

// Options are what a file is held against beside this release.
type Options struct {
	BridgeBatch int // BRIDGE_BATCH_SIZE of the workers
}

// ReadFile reads a file and says what is wrong with it. Of one that is no YAML
// nothing else can be said.
func ReadFile(text []byte, environ []string, opt Options) (*File, []Finding, error) {
	raw, err := manifest.Fill(text, environ)
	if err != nil {
		return nil, nil, err
	}
	parsed, err := manifest.Read(text, environ)
	f := &File{parsed: parsed, raw: raw}
	c := &checker{opt: opt, file: f}
	for _, fault := range each(err) {
		where, what, _ := strings.Cut(fault.Error(), ": ")
		c.add(where, what, "Sequin refuses the file, and its container does not start", "correct the key; variables are taken from this process's environment")
	}
	c.shape()
	return f, c.found, nil
}

// each takes joined errors apart.
func each(err error) []error {
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		return many.Unwrap()
	}
	if err == nil {
		return nil
	}
	return []error{err}
}

// checker gathers findings about one file.
type checker struct {
	opt   Options
	file  *File
	found []Finding
}

func (c *checker) add(where, what, why, do string) {
	c.found = append(c.found, Finding{Where: where, What: what, Why: why, Do: do})
}

func (c *checker) must(ok bool, where, what, why, do string) {
	if !ok {
		c.add(where, what, why, do)
	}
}

// shape looks for the one sink of ours, and at what belongs to it.
func (c *checker) shape() {
	var active []int
	for i, s := range c.file.parsed.Sinks {
		if s.Status != "disabled" {
			active = append(active, i)
		}
	}
	if len(active) != 1 {
		c.add("sinks", fmt.Sprintf("%d sinks that are not disabled", len(active)),
			"all sinks of a slot stop when one of them is down, and a second one carries each row twice", "keep one: outbox-nats or outbox-bridge")
		return
	}
	s := c.file.parsed.Sinks[active[0]]
	at := fmt.Sprintf("sinks[%d].", active[0])
	raw := c.file.raw.list("sinks")[active[0]]
	switch s.Destination.Type {
	case manifest.NATS:
		c.file.Shape = NATS
	case manifest.Webhook:
		c.file.Shape = Bridge
	default:
		c.add(at+"destination.type", "neither nats nor webhook", "rows must go to NATS, or to the bridge", "start again from sequin.yaml or sequin.bridge.yaml")
		return
	}
	c.sink(s, raw, at)
	if c.file.Shape == NATS {
		c.natsSink(s, at)
	} else {
		c.webhookSink(s, raw, at)
	}
	c.database(s)
}

// sink is what both shapes have in common.
func (c *checker) sink(s manifest.Sink, raw tree, at string) {
	src := s.Source
	c.must(s.Status != "paused", at+"status", "paused", "it delivers nothing, keeps 50,000 rows, and then stops the slot", "set status: active")
	c.must(slices.Equal(src.IncludeTables, []string{Outbox}) && src.IncludeSchemas == nil && src.ExcludeSchemas == nil && raw["table"] == nil, at+"source",
		"not exactly include_tables: ["+Outbox+"]", "consumers know rows of the outbox only", "set source: {include_tables: ["+Outbox+"]}")
	c.must(slices.Equal(s.Actions, []string{"insert"}), at+"actions", "not exactly [insert]", "an event happens once; what is no insert ends in quarantine", "set actions: [insert]")
	c.must(!s.Grouping, at+"message_grouping", "not false", "a group goes at some forty rows a second, and all rows without an aggregate are one group for each tenant", "set message_grouping: false")
	c.must(s.MaxRetryCount == 0, at+"max_retry_count", fmt.Sprintf("%d", s.MaxRetryCount), "when it is used up the row is thrown away", "leave it out: for ever")
	c.must(s.Filter == "", at+"filter", "a filter", "what it leaves out is missing in the books", "leave it out")
	c.must(s.Transform == "", at+"transform", "a transform", "consumers, the bridge and the sweeper need the whole message", "leave it out")
	c.must(s.Enrichment == "", at+"enrichment", "an enrichment", "a query for each row, for what nobody reads", "leave it out, or once written set enrichment: none")
	c.must(s.TimestampFormat == "iso8601", at+"timestamp_format", s.TimestampFormat, "consumers read RFC 3339", "set timestamp_format: iso8601")
	c.must(raw.text("load_shedding_policy") != "discard_on_full", at+"load_shedding_policy", "discard_on_full", "Sequin takes it and does not do it: a full sink stops the slot either way", "leave it out")
}

func (c *checker) natsSink(s manifest.Sink, at string) {
	if s.Routing != route.Outbox {
		c.add(at+"routing", fmt.Sprintf("not %s", route.Outbox), "without it the subject is sequin.… and Nats-Msg-Id a log position: no stream takes it, no repeat is known", "set routing: "+route.Outbox)
		return
	}
	for i, fn := range c.file.raw.list("functions") {
		if fn.text("name") == route.Outbox {
			c.must(sameCode(fn.text("code"), shippedCode()), fmt.Sprintf("functions[%d].code", i), "not the code that is shipped",
				"subject, Nats-Msg-Id and traceparent follow from it; the relay, the bridge and the sweeper go on by the shipped one, so consumers would see two kinds of messages",
				"copy the code of "+route.Outbox+" from this release's sequin.yaml")
		}
	}
}

func sameCode(a, b string) bool {
	plain := func(s string) string { return strings.TrimSpace(strings.ReplaceAll(s, "\r\n", "\n")) }
	return plain(a) == plain(b)
}

// shippedCode is the function of the file in the binary; a test holds that it is
// there.
func shippedCode() string {
	shipped, err := manifest.Fill(sequin.NATS, nil)
	if err != nil {
		return ""
	}
	for _, fn := range tree(shipped).list("functions") {
		if fn.text("name") == route.Outbox {
			return fn.text("code")
		}
	}
	return ""
}

func (c *checker) webhookSink(s manifest.Sink, raw tree, at string) {
	d := s.Destination
	c.must(s.Routing == "", at+"routing", "a routing function", "with one, http_endpoint_path is ignored; the bridge decides about subjects itself", "leave it out")
	c.must(d.Path == bridge.Route, at+"destination.http_endpoint_path", "not "+bridge.Route, "the bridge is there and nowhere else", "set http_endpoint_path: "+bridge.Route)
	c.must(d.Batch, at+"destination.batch", "false", "one request for each row", "set batch: true")
	c.must(s.BatchSize <= c.opt.BridgeBatch, at+"batch_size", fmt.Sprintf("%d", s.BatchSize),
		fmt.Sprintf("the bridge has room for %d of the largest rows; it refuses a larger body, and Sequin sends it again for ever", c.opt.BridgeBatch),
		"lower it, or raise BRIDGE_BATCH_SIZE of the workers (and tell this command)")
	for i, e := range c.file.raw.list("http_endpoints") {
		if e.text("name") == raw.object("destination").text("http_endpoint") {
			c.endpoint(e, fmt.Sprintf("http_endpoints[%d].", i))
		}
	}
}

func (c *checker) endpoint(e tree, at string) {
	if u, err := url.Parse(e.text("url")); err == nil && e.text("url") != "" {
		c.must(u.User == nil, at+"url", "a user and a password in it", "Sequin drops them without a word", "leave them out; the bridge wants a bearer token")
		c.must(u.RawQuery == "" && u.Fragment == "", at+"url", "a query or a fragment in it", "the path is put behind it, so it does not survive", "leave it out")
	}
	for _, key := range []string{"local", "webhook.site"} {
		c.must(e.text(key) != "true", at+key, "true", "rows would leave by a tunnel that is meant for trying things out", "leave it out")
	}
	plain, encrypted := e.pairs("headers"), e.pairs("encrypted_headers")
	for name := range plain {
		c.must(!strings.EqualFold(name, "Authorization"), at+"headers", "the token is among the plain headers", "Sequin keeps and shows these in the clear", "move it to encrypted_headers")
	}
	for _, all := range []map[string]string{plain, encrypted} {
		for name := range all {
			c.must(!strings.EqualFold(name, "Content-Encoding"), at+"headers", "a Content-Encoding", "the bridge takes no compressed bodies", "leave it out")
		}
	}
	value, there := encrypted["Authorization"]
	c.must(there, at+"encrypted_headers", "no header Authorization, spelled so", "the bridge answers 401", `add {key: Authorization, value: "Bearer ${BRIDGE_TOKEN}"}`)
	if token, bearer := strings.CutPrefix(value, "Bearer "); there {
		c.must(bearer && strings.TrimSpace(token) != "", at+"encrypted_headers", "the Authorization is no bearer token, or an empty one", "the bridge answers 401, and Sequin accepts the file all the same", "set BRIDGE_TOKEN where Sequin starts, and here")
		c.must(strings.TrimSpace(token) == "" || len(strings.TrimSpace(token)) >= credential.LeastToken, at+"encrypted_headers", fmt.Sprintf("a token of less than %d bytes", credential.LeastToken), "the bridge takes none that could be guessed", "make a longer one, such as `openssl rand -hex 32`")
	}
}

// database is what the sink reads from.
func (c *checker) database(s manifest.Sink) {
	for i, d := range c.file.parsed.Databases {
		if d.Name != s.Database {
			continue
		}
		at := fmt.Sprintf("databases[%d].", i)
		c.must(d.Slot.Name == migrations.Slot, at+"slot.name", "not "+migrations.Slot, "the sweeper, the lag and the way back to the built-in relay go by that slot", "set slot: {name: "+migrations.Slot+"}")
		c.must(d.Publication.Name == migrations.Publication, at+"publication.name", "not "+migrations.Publication, "the migrations make that one, with inserts only and by the root of the partitions", "set publication: {name: "+migrations.Publication+"}")
		c.must(!d.Slot.Create, at+"slot.create_if_not_exists", "true", "Sequin's slot would not fail over, and it makes one once only", "leave it out; `event-runtime migrate` makes the slot")
		c.must(!d.Publication.Create, at+"publication.create_if_not_exists", "true", "Sequin's publication carries every table", "leave it out; the migrations make the publication")
	}
}
