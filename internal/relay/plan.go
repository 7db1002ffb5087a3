package relay

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/internal/relay/manifest"
	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/google/uuid"
)

// plan is what the file asks of this relay.
type plan struct {
	slot        string
	publication string
	source      manifest.Source
	route       route.Function
	sink        message.Entity
	database    message.Source
}

// namespace makes the ids of sinks and databases from their names: Sequin draws
// them by lot and keeps them, and we keep nothing.
var namespace = uuid.MustParse("6f1d6a0e-3c0b-5d52-9a53-0f4d6a5a7a11")

func idOf(kind, name string) string {
	return uuid.NewSHA1(namespace, []byte(kind+":"+name)).String()
}

// planOf takes the one sink of the file, or says what about it is not supported.
func planOf(f *manifest.File) (*plan, error) {
	var active []manifest.Sink
	for _, s := range f.Sinks {
		if s.Status != "disabled" {
			active = append(active, s)
		}
	}
	if len(active) != 1 {
		return nil, fmt.Errorf("sinks: the file has %d that are not disabled; the built-in relay serves exactly one", len(active))
	}
	s := active[0]
	if err := supported(s); err != nil {
		return nil, fmt.Errorf("sink %q: %w", s.Name, err)
	}
	fn, ok := route.Lookup(s.Routing)
	if !ok {
		return nil, fmt.Errorf("sink %q: routing: the built-in relay runs no code of functions and knows none named %q; it knows: %s",
			s.Name, s.Routing, strings.Join(route.Names(), ", "))
	}
	if declared, _ := f.Function(s.Routing); declared.SinkType != manifest.NATS {
		return nil, fmt.Errorf("function %q: sink_type: must be nats for sink %q", s.Routing, s.Name)
	}
	d, _ := f.Database(s.Database) // checked with the file
	if d.Slot.Create || d.Publication.Create {
		return nil, fmt.Errorf("database %q: create_if_not_exists is not supported yet: the migrations make the publication, and `event-runtime migrate` the slot", d.Name)
	}
	return &plan{
		slot: d.Slot.Name, publication: d.Publication.Name, source: s.Source, route: fn,
		sink: message.Entity{ID: idOf("sink", s.Name), Name: s.Name, Annotations: s.Annotations},
		database: message.Source{
			Entity:   message.Entity{ID: idOf("database", d.Name), Name: d.Name, Annotations: d.Annotations},
			Hostname: d.Hostname, Database: d.Database,
		},
	}, nil
}

func supported(s manifest.Sink) error {
	var errs []error
	notYet := func(yes bool, key, what string) {
		if yes {
			errs = append(errs, fmt.Errorf("%s: %s is not supported yet by the built-in relay; use Sequin for this file", key, what))
		}
	}
	notYet(s.Destination.Type != manifest.NATS, "destination.type", s.Destination.Type)
	notYet(s.Status == "paused", "status", "paused")
	notYet(len(s.Actions) != 1 || s.Actions[0] != "insert", "actions", "anything but [insert]")
	notYet(s.Filter != "", "filter", "a filter")
	notYet(s.Transform != "", "transform", "a transform")
	notYet(s.Enrichment != "", "enrichment", "an enrichment")
	notYet(s.Routing == "", "routing", "a sink without a routing function")
	notYet(s.Grouping, "message_grouping", "anything but false")
	notYet(s.TimestampFormat != "iso8601", "timestamp_format", s.TimestampFormat)
	notYet(s.MaxRetryCount != 0, "max_retry_count", "giving up")
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
