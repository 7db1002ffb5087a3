package relay

import (
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

const sqlAppendSized = `
SELECT event_runtime.append_event('acme-bank', 'ofb', 'consent.advanced', jsonb_build_object('n', $1::int), source => repeat('x', $1::int))`

type parked struct {
	Stage, Consumer, Key, Tenant string
	Day                          time.Time
	ID                           event.ID
	Reason, Detail, Subject      string
	Bytes                        int
}

func (r *rig) parked() []parked {
	r.t.Helper()
	rows, err := r.pg.Conn(testenv.Superuser).Query(r.t.Context(), `
		SELECT stage, consumer, dedup_key, tenant_id, recorded_on, event_id, reason, detail, subject, payload_bytes FROM event_runtime.quarantine ORDER BY quarantine_id`)
	if err != nil {
		r.t.Fatal(err)
	}
	all, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (p parked, err error) {
		err = row.Scan(&p.Stage, &p.Consumer, &p.Key, &p.Tenant, &p.Day, &p.ID, &p.Reason, &p.Detail, &p.Subject, &p.Bytes)
		return p, err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	return all
}

// TestTooLarge is C31: what can never be published goes before a person, and
// keeps nothing back.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bytes  int
		detail string
	}{
		"larger than the stream takes":  {600 << 10, "the stream refuses it"},
		"larger than the server takes":  {1200 << 10, "max_payload"},
		"larger than the relay reads":   {9 << 20, "a row of more than"},
		"larger than the window may be": {100 << 10, "the relay's window"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if strings.Contains(name, "window") {
				r.cfg.WindowBytes = 1 << 16
			}
			run := r.start()
			conn := r.pg.Conn(testenv.Superuser)
			tx, err := conn.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var ids []event.ID
			for _, size := range []int{10, c.bytes, 20} {
				var id event.ID
				if err := tx.QueryRow(t.Context(), sqlAppendSized, size).Scan(&id); err != nil {
					t.Fatal(err)
				}
				ids = append(ids, id)
			}
			if err := tx.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			stored := r.stored(2)
			if !stored[ids[0].String()] || !stored[ids[2].String()] {
				t.Errorf("got %v stored, want the neighbours %v and %v", stored, ids[0], ids[2])
			}
			r.confirmed()
			run.stop()
			all := r.parked()
			if len(all) != 1 {
				t.Fatalf("got %d parked, want 1: %+v", len(all), all)
			}
			got := all[0]
			if !strings.Contains(got.Detail, c.detail) {
				t.Errorf("got detail %q, want %q in it", got.Detail, c.detail)
			}
			if got.Bytes < 200 || !strings.Contains(name, "reads") && got.Bytes < c.bytes {
				t.Errorf("got %d bytes, want at least %d", got.Bytes, c.bytes)
			}
			got.Detail, got.Bytes = "", 0
			want := parked{"ingest", "relay", ids[1].String(), "acme-bank", ids[1].Day(), ids[1], "too_large", "", "events.acme-bank.ofb.consent.advanced", 0}
			if got != want {
				t.Errorf("got %+v, want %+v", got, want)
			}
			r.start() // and again from where the slot was left: nothing new
			r.append(1, "consent.advanced")
			r.stored(3)
			if n := len(r.parked()); n != 1 {
				t.Errorf("got %d parked after a restart, want 1", n)
			}
		})
	}
}

// TestNowhereToPark: as long as the row cannot be written, the message is not done.
func TestNowhereToPark(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.pg.Exec(`revoke insert on event_runtime.quarantine from runtime_relay`)
	r.start()
	r.log.await(t, "relay.connected")
	r.pg.Exec(sqlAppendSized, 2<<20)
	behind := r.here()
	r.log.await(t, "relay.interrupted")
	r.notReached(behind)
	r.pg.Exec(`grant insert on event_runtime.quarantine to runtime_relay`)
	await(t, "the row", func() bool { return len(r.parked()) == 1 })
	r.confirmed()
}
