package relay

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
)

const (
	benchRows = 200_000
	benchTx   = 500
	baseSlot  = "bench_base"
)

// BenchmarkCatchUp relays 200,000 rows that are in the log already, each way in a
// process of its own: `go test -run '^$' -bench CatchUp -benchtime 3x ./internal/relay`.
func BenchmarkCatchUp(b *testing.B) {
	pg := testenv.Cluster(b, testenv.Setting("max_slot_wal_keep_size", "16GB"))
	fillLog(b, pg)
	program := buildBaseline(b)
	for _, which := range []string{"lib", "own"} {
		b.Run(which, func(b *testing.B) {
			var total measured
			for b.Loop() {
				m := catchUp(b, pg, program, which)
				total.Seconds += m.Seconds
				total.CPUSeconds += m.CPUSeconds
				total.PeakRSSKiB = max(total.PeakRSSKiB, m.PeakRSSKiB)
			}
			b.ReportMetric(float64(b.N)*benchRows/total.Seconds, "rows/s")
			b.ReportMetric(total.CPUSeconds/float64(b.N)*100_000/benchRows, "cpu-s/100k")
			b.ReportMetric(float64(total.PeakRSSKiB)/1024, "MiB-peak")
			b.ReportMetric(0, "ns/op")
		})
	}
}

type measured struct {
	Seconds    float64 `json:"seconds"`
	CPUSeconds float64 `json:"cpu_seconds"`
	PeakRSSKiB int64   `json:"peak_rss_kib"`
}

// catchUp gives the program a fresh copy of the slot and an empty JetStream.
func catchUp(b *testing.B, pg *testenv.PostgresServer, program, which string) (m measured) {
	b.StopTimer()
	server := testenv.NATS(b)
	js := server.JetStream()
	for _, cfg := range transport.Streams(transport.Limits{Replicas: 1, InteractionsBytes: 4 << 30, EventsBytes: 4 << 30, DLQBytes: 1 << 20}) {
		if _, err := js.CreateStream(b.Context(), cfg); err != nil {
			b.Fatal(err)
		}
	}
	pg.Exec(`select pg_copy_logical_replication_slot($1, $2)`, baseSlot, migrations.Slot)
	cmd := exec.CommandContext(b.Context(), program, append([]string{"-relay", which, "-rows", "200000"}, strings.Fields(os.Getenv("RELAY_BENCH_FLAGS"))...)...)
	cmd.Env = append(os.Environ(), "DATABASE_URL="+pg.URL("runtime_relay"), "NATS_URL="+server.URL())
	cmd.Stderr = os.Stderr
	b.StartTimer()
	out, err := cmd.Output()
	b.StopTimer()
	if err != nil {
		b.Fatal(err)
	}
	if err := json.Unmarshal(out, &m); err != nil {
		b.Fatal(err)
	}
	awaitInactive(b, pg)
	pg.Exec(`select pg_drop_replication_slot($1)`, migrations.Slot)
	server.Stop()
	b.StartTimer()
	return m
}

func awaitInactive(b *testing.B, pg *testenv.PostgresServer) {
	b.Helper()
	conn, err := pgx.Connect(b.Context(), pg.URL(testenv.Superuser))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(b.Context())) }()
	for active := true; active; {
		if err := conn.QueryRow(b.Context(), `select active from pg_replication_slots where slot_name = $1`, migrations.Slot).Scan(&active); err != nil {
			b.Fatal(err)
		}
	}
}

func buildBaseline(b *testing.B) string {
	b.Helper()
	program := filepath.Join(b.TempDir(), "baseline")
	if out, err := exec.CommandContext(b.Context(), "go", "build", "-buildvcs=false", "-o", program, "./internal/baseline").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	return program
}

// One captured call, about 650 bytes of payload.
const sqlFill = `
INSERT INTO event_runtime.outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, idempotency_key, traceparent, source, payload)
SELECT 'tenant-' || g % 8, event_runtime.event_day(id), id, 'ofb', 'interaction.completed', 1, now(), 'key-' || g,
       '00-' || md5(g::text) || '-' || left(md5(id::text), 16) || '-01', 'bank-api',
       jsonb_build_object('fapiInteractionId', gen_random_uuid(), 'clientOrgId', gen_random_uuid(), 'serverOrgId', gen_random_uuid(),
         'endpoint', '/open-banking/accounts/v2/accounts/{accountId}/transactions', 'url', 'https://api.bank' || g % 90 || '.example.com.br/open-banking/accounts/v2/accounts',
         'httpMethod', 'GET', 'statusCode', 200, 'role', 'SERVER', 'timestamp', now(), 'processTimespan', g % 4000, 'clientSSId', md5(g::text),
         'additionalInfo', jsonb_build_object('consentId', 'urn:bank:' || g, 'personType', 'PN', 'localInstrument', 'DICT', 'clientIp', '10.0.0.1', 'errorCodes', '[]'::jsonb))
  FROM generate_series(1, $1::int) g, LATERAL (SELECT event_runtime.new_event_id(clock_timestamp() + g * interval '0 s') AS id) i`

func fillLog(b *testing.B, pg *testenv.PostgresServer) {
	b.Helper()
	pg.Exec(`select pg_create_logical_replication_slot($1, 'pgoutput')`, baseSlot)
	conn := pg.Conn(testenv.Superuser)
	for range benchRows / benchTx {
		if _, err := conn.Exec(b.Context(), sqlFill, benchTx); err != nil {
			b.Fatal(err)
		}
	}
}
