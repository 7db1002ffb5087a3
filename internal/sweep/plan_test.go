package sweep

import (
	"encoding/json"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

// One day of three tenants, all but a few of whose events have their rows.
const sqlFill = `
INSERT INTO event_runtime.outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, recorded_at, payload)
SELECT (array['acme-bank', 'globex', 'other'])[1 + n % 3], event_runtime.event_day(id), id, 'ofb', 'interaction.completed', 1, now(), event_runtime.event_time(id), '{}'
  FROM generate_series(1, $2::int) n, lateral (SELECT event_runtime.new_event_id($1::timestamptz + n * make_interval(secs => $3::float8)) AS id) i`

const sqlFillRows = `
INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash)
SELECT tenant_id, recorded_on, event_id, 'pcm-ofb', 'ineligible:test', sha256('') FROM event_runtime.outbox ORDER BY event_id LIMIT $1`

// plan is what EXPLAIN says of one step and those below it.
type plan struct {
	Node    string  `json:"Node Type"`
	Table   string  `json:"Relation Name"`
	Rows    float64 `json:"Actual Rows"`
	Removed float64 `json:"Rows Removed by Filter"`
	Loops   float64 `json:"Actual Loops"`
	Plans   []plan  `json:"Plans"`
}

// walk gives the rows that were read of tables that grow, and the tables of which
// everything was read.
func (p plan) walk(read *float64, whole *[]string) {
	big := strings.HasPrefix(p.Table, "outbox") || strings.HasPrefix(p.Table, "consumer_idempotency") || p.Table == "quarantine"
	if big && strings.Contains(p.Node, "Scan") {
		*read += (p.Rows + p.Removed) * p.Loops
		if p.Node == "Seq Scan" && p.Loops > 0 {
			*whole = append(*whole, p.Table)
		}
	}
	for _, below := range p.Plans {
		below.walk(read, whole)
	}
}

func explain(t *testing.T, conn *pgx.Conn, sql string, args pgx.NamedArgs) string {
	t.Helper()
	lines, err := conn.Query(t.Context(), "EXPLAIN (ANALYZE, BUFFERS, COSTS OFF) "+sql, args)
	if err != nil {
		t.Fatal(err)
	}
	all, err := pgx.CollectRows(lines, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(all, "\n")
}

// No statement reads more of a day than its page: by the key, from where the last
// page ended. SWEEP_PLAN_ROWS=20000000 looks at a larger outbox, on a disk, and
// prints how its pages are read.
func TestAPassReadsItsWindowAndNoMore(t *testing.T) {
	t.Parallel()
	rows, every := 30_000, 100*time.Millisecond
	var on database
	if text := os.Getenv("SWEEP_PLAN_ROWS"); text != "" {
		var err error
		if rows, err = strconv.Atoi(text); err != nil {
			t.Fatalf("SWEEP_PLAN_ROWS: %v", err)
		}
		every, on = 12*time.Hour/time.Duration(rows), testenv.Cluster(t, testenv.Durable())
	} else {
		on = testenv.Postgres(t)
	}
	aMinute := float64(min(pageSize, int(time.Minute/every)/3)) // of a tenant
	r := newRigOn(t, on)
	noon := time.Now().UTC().Truncate(day).Add(-12 * time.Hour) // of yesterday
	r.db.Exec(sqlFill, noon, rows, every.Seconds())
	r.db.Exec(sqlFillRows, rows-10)
	r.db.Exec(`UPDATE event_runtime.entitlements SET since = event_runtime.new_event_id($1::timestamptz)`, noon)
	r.db.Exec(`ANALYZE event_runtime.outbox`)
	r.db.Exec(`ANALYZE event_runtime.consumer_idempotency`)
	d := r.sweeper.durables[0]
	args := d.args()
	middle := noon.Add(25 * time.Minute)
	var tenants []string
	var days []time.Time
	var ids []event.ID
	for n := range 20 {
		rows, err := r.super.Query(t.Context(), `SELECT event_id FROM event_runtime.outbox WHERE tenant_id = 'globex' AND recorded_on = $1 ORDER BY event_id OFFSET $2 LIMIT 1`, noon, n*400)
		if err != nil {
			t.Fatal(err)
		}
		id, err := pgx.CollectExactlyOneRow(rows, pgx.RowTo[event.ID])
		if err != nil {
			t.Fatal(err)
		}
		tenants, days, ids = append(tenants, "globex"), append(days, noon), append(ids, id)
	}
	for name, value := range map[string]any{"tenant": "globex", "day": noon, "after": firstID(middle), "until": firstID(middle.Add(time.Minute)), "now": time.Now(), "page": pageSize,
		"tenants": tenants, "days": days, "ids": ids} {
		args[name] = value
	}
	for name, tc := range map[string]struct {
		sql         string
		least, most float64
	}{
		// Events of the tenant in the minute, each looked for once in each place.
		"one minute":       {sqlFind, 2 * aMinute, 3 * (aMinute + 1)},
		"which tenants":    {sqlTenants, 3, 3 * 4 * 5}, // a step for each of four, on each leaf
		"rows to publish":  {sqlRows, 20, 20},
		"what has arrived": {sqlCame, 0, 1},
	} {
		var text string
		if err := r.super.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON) "+tc.sql, args).Scan(&text); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var explained []struct{ Plan plan }
		if err := json.Unmarshal([]byte(text), &explained); err != nil {
			t.Fatal(err)
		}
		var read float64
		var whole []string
		explained[0].Plan.walk(&read, &whole)
		if len(whole) > 0 || read < tc.least || read > tc.most {
			t.Errorf("%s reads %.0f rows, want %.0f to %.0f, and %v from end to end\n%s", name, read, tc.least, tc.most, whole, text)
		}
		if on, ok := on.(*testenv.PostgresServer); ok {
			t.Logf("%s, of %d rows:\n%s", name, rows, explain(t, on.Conn(testenv.Superuser), tc.sql, args))
		}
	}
}
