// Package transport says what the JetStream side must look like: streams,
// durable consumers, and which consumer is owed which events.
//
// Promise: Provision makes what is missing and changes nothing that exists;
//
//	Drift names every setting of a live stream or consumer that promises less
//	than ours.
//
// State:   none here; the server's and the entitlements table.
// Failure: a setting that cannot be had (storage, replicas) is an error that
//
//	names the stream.
package transport

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Streams.
const (
	Interactions = "INTERACTIONS" // captured calls: interactions.<tenant>.<ecosystem>
	Events       = "EVENTS"       // semantic events: p.<partition>.events.<tenant>.<ecosystem>.<type>
	DLQ          = "DLQ"          // dlq.<consumer>.<tenant>.<reason>: ids and reasons, no payloads
)

// Partitions of EVENTS by tenant. Changing it means a new stream.
const Partitions = 32

const (
	owner           = "event-runtime"
	schemaVersion   = "1"
	maxMsgSize      = 512 << 10
	duplicateWindow = 2 * time.Minute
	ackWait         = 60 * time.Second
)

// MaxAckPending bounds what one durable consumer holds unsettled.
const MaxAckPending = 4096

// Limits are what an operator chooses.
type Limits struct {
	Replicas          int   `env:"REPLICAS, default=1"`
	InteractionsBytes int64 `env:"INTERACTIONS_MAX_BYTES, default=10737418240"`
	EventsBytes       int64 `env:"EVENTS_MAX_BYTES, default=10737418240"`
	DLQBytes          int64 `env:"DLQ_MAX_BYTES, default=1073741824"`
	// Unacked is for publishers that wait for no PubAck, as Sequin's NATS sink: a
	// full stream makes room then, since nobody would hear that it refuses.
	Publishers string `env:"PUBLISHERS, default=acked"` // acked or unacked
	// Atomic lets a relay publish batches: with sync_interval always, one sync for
	// many messages. Without it a batch costs more than it brings.
	Atomic bool   `env:"ATOMIC, default=false"`
	Tags   string `env:"PLACEMENT_TAGS"` // of servers; commas between several
}

// Who publishes.
const (
	Acked   = "acked"
	Unacked = "unacked"
)

// Check names what is wrong, or nothing.
func (l Limits) Check() (name, why string) {
	switch {
	case l.Publishers != "" && l.Publishers != Acked && l.Publishers != Unacked:
		return "PUBLISHERS", "want acked (the built-in relay, the bridge) or unacked (Sequin's NATS sink)"
	case l.Replicas > mostReplicas || l.Replicas > 1 && l.Replicas%2 == 0:
		return "REPLICAS", "want 1, 3 or 5: an even number survives no more than the odd one below it"
	default:
		return "", ""
	}
}

const mostReplicas = 5

// Streams are the desired configurations.
func Streams(l Limits) []jetstream.StreamConfig {
	discard := jetstream.DiscardNew
	base := func(name, subject string, age time.Duration, bytes int64) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: []string{subject}, Storage: jetstream.FileStorage, Replicas: max(l.Replicas, 1),
			Retention: jetstream.LimitsPolicy, MaxAge: age, MaxBytes: bytes, MaxMsgSize: maxMsgSize,
			// A publisher that waits for the PubAck sees that a full stream refuses. The
			// other kind would go on, and nothing new would be stored: old ones go then,
			// which have been consumed, or will be swept.
			Discard:            discard,
			AllowAtomicPublish: l.Atomic,
			Duplicates:         duplicateWindow, DenyDelete: true, DenyPurge: true, AllowDirect: true,
			Placement: placement(l.Tags),
			Metadata:  map[string]string{"owner": owner, "schema_version": schemaVersion},
		}
	}
	if l.Publishers == Unacked {
		discard = jetstream.DiscardOld
	}
	interactions := base(Interactions, "interactions.>", 3*24*time.Hour, l.InteractionsBytes)
	events := base(Events, "events.>", 14*24*time.Hour, l.EventsBytes)
	events.SubjectTransform = &jetstream.SubjectTransformConfig{
		Source: "events.*.>", Destination: "p.{{partition(32,1)}}.events.{{wildcard(1)}}.>",
	}
	dlq := base(DLQ, "dlq.>", 30*24*time.Hour, l.DLQBytes)
	dlq.AllowAtomicPublish = false
	dlq.Discard = jetstream.DiscardOld // copies: the rows are in quarantine
	return []jetstream.StreamConfig{interactions, events, dlq}
}

// placement keeps the streams on servers that have all tags.
func placement(tags string) *jetstream.Placement {
	if tags == "" {
		return nil
	}
	return &jetstream.Placement{Tags: strings.Split(tags, ",")}
}

// PCMOFB reports to Open Finance.
const PCMOFB = "pcm-ofb"

// Entitlement says that a consumer owes a row for every event of an ecosystem
// and family, from the moment it was first provisioned.
type Entitlement struct{ Consumer, Ecosystem, Family string }

// Entitlements is the one table of who is owed what. Filters, sweeps and books
// are derived from it.
func Entitlements() []Entitlement {
	var all []Entitlement
	for _, family := range []string{"interaction", "consent", "payment", "portability", "enrollment"} {
		all = append(all, Entitlement{PCMOFB, "ofb", family})
	}
	return all
}

// Stream is where the events of an entitlement are, and Filter selects them
// there.
func (e Entitlement) Stream() string {
	if e.Family == "interaction" {
		return Interactions
	}
	return Events
}

// Filter is the subject a durable consumer of this entitlement listens to.
func (e Entitlement) Filter() string {
	if e.Family == "interaction" {
		return "interactions.*." + e.Ecosystem
	}
	return "p.*.events.*." + e.Ecosystem + "." + e.Family + ".>"
}

// Durable is one durable consumer on one stream. A consumer that is owed events
// of two streams has one of the same name on each.
type Durable struct {
	Stream string
	Config jetstream.ConsumerConfig
}

// Durables are the desired consumers, from the entitlements.
func Durables(replicas int) []Durable {
	var all []Durable
	index := map[[2]string]int{}
	for _, e := range Entitlements() {
		key := [2]string{e.Stream(), e.Consumer}
		at, ok := index[key]
		if !ok {
			at = len(all)
			index[key] = at
			all = append(all, Durable{Stream: e.Stream(), Config: jetstream.ConsumerConfig{
				Durable: e.Consumer, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait, MaxAckPending: MaxAckPending,
				MaxDeliver: -1, DeliverPolicy: jetstream.DeliverAllPolicy, Replicas: max(replicas, 1),
				Metadata: map[string]string{"owner": owner},
			}})
		}
		all[at].Config.FilterSubjects = append(all[at].Config.FilterSubjects, e.Filter())
	}
	return all
}
