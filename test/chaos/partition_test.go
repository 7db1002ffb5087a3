package chaos

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

// A day that is missing is told long before anybody needs it, and made by
// whoever may: `migrate`, or a worker that leads.
func TestScenario21DayMissing(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	migrate := testenv.Start(t, testenv.Binary(t), []string{"migrate", "--no-slot"}, []string{"MIGRATE_DATABASE_URL=" + r.db.URL(testenv.Superuser)})
	migrate.ExitedWith(0)
	r.relay()
	watching := r.serve("MAINTENANCE_DATABASE_URL=")
	r.daysAhead(watching, 14)
	day := time.Now().UTC().AddDate(0, 0, 3)
	table := "event_runtime.outbox_" + day.Format("20060102")
	r.db.Exec(`ALTER TABLE event_runtime.outbox DETACH PARTITION ` + table)
	r.daysAhead(watching, 2) // attached is what counts, whatever is written down
	r.db.Exec(`DROP TABLE ` + table)
	r.db.Exec(`DELETE FROM event_runtime.partition_days WHERE parent = 'outbox' AND day = $1`, day)
	watching.Line(`"event":"partitions.short"`)
	r.calls(10) // nobody has felt it yet
	watching.Signal(terminate)
	watching.ExitedWith(0)
	r.daysAhead(r.serve(), 14)
	r.quiescent()
	r.oracle()
}

var aheadMetric = regexp.MustCompile(`(?m)^event_runtime_partition_days_ahead(?:{[^}]*})? (-?\d+)$`)

// daysAhead waits until a worker's metric says so.
func (r *rig) daysAhead(worker *testenv.Process, want int) {
	r.t.Helper()
	address := regexp.MustCompile(`"addr":"([^"]+)"`).FindStringSubmatch(worker.Line("http.listening"))[1]
	got := ""
	r.until(fmt.Sprintf("the metric says %d days", want), time.Minute, func() bool {
		req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+address+"/metrics", nil)
		if err != nil {
			r.t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false
		}
		text, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if found := aheadMetric.FindStringSubmatch(string(text)); found != nil {
			got = found[1]
		}
		return got == fmt.Sprint(want)
	})
}

// At midnight events go on from one day's tables to the next day's, and none
// falls in between.
func TestScenario21Midnight(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.db.Exec(`UPDATE event_runtime.settings SET test_clock = true`)
	r.relay()
	r.serve()
	midnight := time.Now().UTC().Truncate(24 * time.Hour) // the last one: the days on both sides are there
	const each, n = 50 * time.Millisecond, 40
	for i := range n {
		r.callAt(midnight.Add(time.Duration(i-n/2) * each))
	}
	for day, want := range map[time.Time]int64{midnight.AddDate(0, 0, -1): n / 2, midnight: n / 2} {
		if got := r.count(`SELECT count(*) FROM event_runtime.outbox WHERE recorded_on = $1`, day); got != want {
			t.Errorf("got %d events on %s, want %d", got, day.Format(time.DateOnly), want)
		}
	}
	r.quiescent()
	r.oracle()
}

// callAt appends one call as at another time.
func (r *rig) callAt(at time.Time) {
	r.t.Helper()
	e, s := r.call(banks()[1])
	s.id = event.NewID(at).String()
	err := r.appendTx(r.t.Context(), []*sent{s}, func(tx pgx.Tx) error {
		if _, err := tx.Exec(r.t.Context(), `SELECT set_config('event_runtime.now', $1, true)`, at.Format(time.RFC3339Nano)); err != nil {
			return err
		}
		_, err := tx.Exec(r.t.Context(), `SELECT event_runtime.append_event($1, 'ofb', 'interaction.completed', $2::jsonb, event_id => $3::uuid, source => 'chaos')`, s.tenant, e.Payload, s.id)
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

// An old day goes and new days come while producers append: no append fails, and
// everything arrives.
func TestScenario21DetachRace(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.relay()
	during, stop := context.WithCancel(t.Context())
	loaded := r.load(during, 60, banks()...)
	r.until("producers are at work", time.Minute, func() bool { return r.appended() > 30 })
	r.serve().Line("partitions.made") // thirteen days for each table
	yesterday := "event_runtime.outbox_" + time.Now().UTC().AddDate(0, 0, -1).Format("20060102")
	r.until("the day is detached", time.Minute, func() bool {
		_, err := r.pool.Exec(t.Context(), `ALTER TABLE event_runtime.outbox DETACH PARTITION `+yesterday+` CONCURRENTLY`)
		if err != nil && !strings.Contains(err.Error(), "already pending detach") {
			t.Fatal(err)
		}
		return err == nil
	})
	r.db.Exec(`DROP TABLE ` + yesterday)
	more := r.appended() + 30
	r.until("producers go on", time.Minute, func() bool { return r.appended() > more })
	stop()
	<-loaded
	r.mu.Lock()
	for _, s := range r.sent {
		if s.maybe {
			t.Errorf("%v could not be appended", s)
		}
	}
	r.mu.Unlock()
	r.quiescent()
	r.oracle()
}
