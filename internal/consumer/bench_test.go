package consumer

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
)

// One transaction of a full hand of new events, all of them accepted.
func BenchmarkPersist(b *testing.B) {
	db := testenv.Postgres(b)
	s := &store{pool: db.Pool("runtime_worker"), consumer: "pcm-ofb", now: time.Now}
	org := event.NewID(time.Now())
	for b.Loop() {
		hand := make([]Decision, 500)
		for i := range hand {
			id := event.NewID(time.Now())
			hand[i] = Decision{Reason: Accepted, Event: &event.Envelope{TenantID: acme, EventID: id, RecordedOn: id.Day(), Ecosystem: event.OFB},
				Report: &submit.Report{API: "private", Submitter: org, Party: org, Role: "CLIENT", InteractionID: event.NewID(time.Now()), Deadline: time.Now(), Bytes: 500}}
			hand[i].Hash[0] = byte(i)
		}
		if _, err := s.persist(b.Context(), hand); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*500)/b.Elapsed().Seconds(), "events/s")
}
