package baseline

import (
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// TestRun: what is measured does the work it is said to do.
func TestRun(t *testing.T) {
	t.Parallel()
	const rows = 300
	pg, server := testenv.Cluster(t), testenv.NATS(t)
	js := server.JetStream()
	stream, err := js.CreateStream(t.Context(), transport.Streams(transport.Limits{Replicas: 1, InteractionsBytes: 1 << 30, EventsBytes: 1 << 20, DLQBytes: 1 << 20})[0])
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{
		DatabaseURL: pg.URL("runtime_relay"), NATSURL: server.URL(), Slot: migrations.Slot, Publication: migrations.Publication,
		Subject: "interactions.baseline.ofb", Rows: rows,
	}
	if err := Run(t.Context(), cfg); err == nil || !strings.Contains(err.Error(), "start replication from slot "+migrations.Slot) {
		t.Errorf("got %v without a slot, want it named", err)
	}
	if _, err := migrations.EnsureSlot(t.Context(), pg.URL(testenv.Superuser), migrations.Slot); err != nil {
		t.Fatal(err)
	}
	pg.Exec(`select event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', jsonb_build_object('n', g)) from generate_series(1, $1::int) g`, rows)
	if err := Run(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := info.State.Msgs; got != rows {
		t.Errorf("got %d messages, want %d", got, rows)
	}
	last, err := stream.GetMsg(t.Context(), rows)
	if err != nil {
		t.Fatal(err)
	}
	if id := last.Header.Get("Nats-Msg-Id"); id == "" || !strings.Contains(string(last.Data), `"id":"`+id+`"`) || !strings.Contains(string(last.Data), `"data":{"n":300}`) {
		t.Errorf("got %v %s, want the last event", last.Header, last.Data)
	}
}
