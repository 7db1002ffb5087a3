package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/post"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/google/uuid"
)

// plan is what the file asks of this relay.
type plan struct {
	slot        string
	publication string
	source      manifest.Source
	actions     []string
	route       route.Function // of a NATS sink; nil: as Sequin routes by itself
	transform   message.Path   // nil: the whole message
	webhook     *webhook       // nil: a NATS sink
	sink        message.Entity
	database    message.Source
}

// webhook is what the file says of a webhook sink.
type webhook struct {
	endpoint post.Endpoint
	target   post.Target           // of every message
	route    route.RequestFunction // or of each; nil: none
	batch    int
	retries  int                                                // 0: for ever
	grouped  func(schema, table string, keys []string) []string // by which columns
}

// takes reports whether the sink wants an action. A backfill's rows it always does.
func (p *plan) takes(a message.Action) bool {
	return a == message.Read || slices.Contains(p.actions, string(a))
}

// namespace makes the ids of sinks and databases from their names: Sequin draws
// them by lot and keeps them, and we keep nothing.
var namespace = uuid.MustParse("6f1d6a0e-3c0b-5d52-9a53-0f4d6a5a7a11")

func idOf(kind, name string) string {
	return uuid.NewSHA1(namespace, []byte(kind+":"+name)).String()
}

// planOf takes the one sink of the file, or says what about it is not supported.
func planOf(f *manifest.File) (*plan, error) {
	s, err := sinkOf(f)
	if err != nil {
		return nil, err
	}
	if err := supported(s); err != nil {
		return nil, fmt.Errorf("sink %q: %w", s.Name, err)
	}
	d, _ := f.Database(s.Database) // checked with the file
	if d.Slot.Create || d.Publication.Create {
		return nil, fmt.Errorf("database %q: create_if_not_exists is not supported yet: the migrations make the publication, and `event-runtime migrate` the slot", d.Name)
	}
	p := &plan{
		slot: d.Slot.Name, publication: d.Publication.Name, source: s.Source, actions: s.Actions,
		sink: message.Entity{ID: idOf("sink", s.Name), Name: s.Name, Annotations: s.Annotations},
		database: message.Source{
			Entity:   message.Entity{ID: idOf("database", d.Name), Name: d.Name, Annotations: d.Annotations},
			Hostname: d.Hostname, Database: d.Database,
		},
	}
	return p, errors.Join(p.transformBy(f, s), p.deliverTo(f, s))
}

func sinkOf(f *manifest.File) (manifest.Sink, error) {
	var active []manifest.Sink
	for _, s := range f.Sinks {
		if s.Status != "disabled" {
			active = append(active, s)
		}
	}
	if len(active) != 1 {
		return manifest.Sink{}, fmt.Errorf("sinks: the file has %d that are not disabled; the built-in relay serves exactly one", len(active))
	}
	return active[0], nil
}

func (p *plan) transformBy(f *manifest.File, s manifest.Sink) (err error) {
	if s.Transform == "" {
		return nil
	}
	fn, _ := f.Function(s.Transform)
	if fn.Type != "path" {
		return fmt.Errorf("sink %q: transform: the built-in relay runs no code of functions; of transforms it knows those of type path", s.Name)
	}
	if p.transform, err = message.ParsePath(fn.Path); err != nil {
		return fmt.Errorf("function %q: path: %w", fn.Name, err)
	}
	return nil
}

// deliverTo reads the destination, and the function that routes to it.
func (p *plan) deliverTo(f *manifest.File, s manifest.Sink) error {
	if declared, _ := f.Function(s.Routing); s.Routing != "" && declared.SinkType != s.Destination.Type {
		return fmt.Errorf("function %q: sink_type: must be %s for sink %q", s.Routing, s.Destination.Type, s.Name)
	}
	if s.Destination.Type == manifest.Webhook {
		return p.toWebhook(f, s)
	}
	if s.Routing == "" {
		return nil
	}
	fn, ok := route.Lookup(s.Routing)
	if !ok {
		return unknownFunction(s, route.Names())
	}
	p.route = fn
	return nil
}

func (p *plan) toWebhook(f *manifest.File, s manifest.Sink) error {
	e, _ := f.Endpoint(s.Destination.Endpoint) // checked with the file
	if e.URL == "" {
		return fmt.Errorf("http_endpoint %q: url: is needed; tunnels are Sequin's", e.Name)
	}
	p.webhook = &webhook{
		endpoint: post.Endpoint{Address: e.URL, Headers: map[string]string{}, Batch: s.Destination.Batch},
		batch:    s.BatchSize, retries: s.MaxRetryCount, grouped: s.GroupedBy,
	}
	for name, value := range e.Headers {
		p.webhook.endpoint.Headers[strings.ToLower(name)] = value
	}
	if s.Routing == "" {
		p.webhook.target.Path = s.Destination.Path
		return nil
	}
	fn, ok := route.LookupRequest(s.Routing)
	if !ok {
		return unknownFunction(s, route.RequestNames())
	}
	p.webhook.route = fn
	return nil
}

func unknownFunction(s manifest.Sink, known []string) error {
	names := strings.Join(known, ", ")
	if names == "" {
		names = "none for such a sink"
	}
	return fmt.Errorf("sink %q: routing: the built-in relay runs no code of functions and knows none named %q; it knows: %s", s.Name, s.Routing, names)
}

func supported(s manifest.Sink) error {
	var errs []error
	notYet := func(yes bool, key, what string) {
		if yes {
			errs = append(errs, fmt.Errorf("%s: %s is not supported yet by the built-in relay; use Sequin for this file", key, what))
		}
	}
	toNATS := s.Destination.Type == manifest.NATS
	notYet(!toNATS && s.Destination.Type != manifest.Webhook, "destination.type", s.Destination.Type)
	notYet(s.Status == "paused", "status", "paused")
	notYet(s.Filter != "", "filter", "a filter")
	notYet(s.Enrichment != "", "enrichment", "an enrichment")
	notYet(s.TimestampFormat != "iso8601", "timestamp_format", s.TimestampFormat)
	notYet(toNATS && s.MaxRetryCount != 0, "max_retry_count", "giving up on NATS")
	notYet(s.InitialBackfill, "initial_backfill", "a backfill by itself (`event-runtime relay backfill` starts one)")
	return errors.Join(errs...)
}

// carries reports whether a table that the file names is among those of the
// publication. A table without a schema is in public.
func carries(tables []string, named string) bool {
	if !strings.Contains(named, ".") {
		named = "public." + named
	}
	return slices.Contains(tables, named)
}
