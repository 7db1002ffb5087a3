package chaos

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
)

// sweepsSoon makes the sweeper look all the time: minutes are for production.
var sweepsSoon = withEnv("SWEEP_INTERVAL=200ms", "SWEEP_GRACE=10ms", "SWEEP_AGAIN=2s")

const (
	limitMB = 64
	segment = 16 << 20
)

// The relay stops reading and the log grows: the slot gives way, never the disk.
// When the relay goes on, it makes another slot, and what the old one had yet to
// read is swept: nothing is missing, and nothing there twice.
func TestScenario5SlotInvalidated(t *testing.T) {
	t.Parallel()
	r := newRig(t, sweepsSoon, onCluster(testenv.Setting("max_slot_wal_keep_size", "64MB"), testenv.Setting("max_wal_size", "64MB"), testenv.Setting("min_wal_size", "32MB")))
	relay, worker := r.relay("RELAY_STALL_FOR=5s"), r.serve()
	r.wave(40)
	r.quiescent()
	relay.Send(syscall.SIGSTOP)
	r.wave(40) // the slot will never carry these
	most, written := r.flood(t)
	if bound := int64(limitMB<<20 + 4*segment); most > bound {
		t.Errorf("the log grew to %d MiB of the %d MiB that were written, want at most %d", most>>20, written>>20, bound>>20)
	}
	worker.Line(`"event":"slot.lost"`) // by the leader: the relay is not there to see it
	r.wave(40)
	relay.Send(syscall.SIGCONT)
	relay.Line(`"event":"slot.recreated"`)
	r.wave(40)
	r.quiescent()
	r.oracle()
	entry := r.recovered(1)[0]
	if entry.Cause != "invalidated" || entry.Promoted || entry.GapRows < 40 {
		t.Errorf("got %+v, want a slot that was invalidated, and at least the 40 calls that it had yet to read", entry)
	}
	if n := r.count(`SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND wal_status = 'reserved'`, migrations.Slot); n != 1 {
		t.Errorf("got %d slots that keep what they need, want 1", n)
	}
}

// flood writes log until the slot is lost, and gives the most that was kept.
func (r *rig) flood(t *testing.T) (most, written int64) {
	t.Helper()
	r.until("the slot is lost", 2*time.Minute, func() bool {
		const each = 24
		if _, err := r.pool.Exec(t.Context(), `SELECT pg_logical_emit_message(false, 'noise', repeat('x', 1048576)) FROM generate_series(1, $1::int)`, each); err != nil {
			t.Fatal(err)
		}
		// It takes the log away, and waits for a stopped relay to be given up.
		if _, err := r.pool.Exec(t.Context(), `CHECKPOINT`); err != nil {
			t.Fatal(err)
		}
		written += each << 20
		most = max(most, sizeOf(t, filepath.Join(r.db.Dir(), "server", "data", "pg_wal")))
		return written > 4*limitMB<<20 && r.count(`SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'`) == 1
	})
	return most, written
}

func sizeOf(t *testing.T, dir string) (n int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if os.IsNotExist(err) {
			return nil // recycled meanwhile
		}
		if err == nil && info.Mode().IsRegular() {
			n += info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A recovery is an entry of the ledger.
type recovery struct {
	Slot     string `json:"slot"`
	Cause    string `json:"cause"`
	Promoted bool   `json:"promoted"`
	GapRows  int64  `json:"gap_rows"`
	Ghosts   int64  `json:"ghosts"`
	Window   struct{ From, Until time.Time }
}

// recovered waits for as many entries, and for no loss to be open.
func (r *rig) recovered(n int64) (all []recovery) {
	r.t.Helper()
	r.until("the recovery is in the ledger", time.Minute, func() bool {
		return r.count(`SELECT count(*) FROM event_runtime.audit_ledger WHERE action = 'cdc_recovered'`) >= n &&
			r.count(`SELECT count(*) FROM event_runtime.cdc_losses WHERE ended_at IS NULL`) == 0
	})
	rows, err := r.pool.Query(r.t.Context(), `SELECT payload_bytes FROM event_runtime.audit_ledger WHERE chain_id = 'platform' AND action = 'cdc_recovered' ORDER BY seq`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var text []byte
		var entry recovery
		if err := rows.Scan(&text); err != nil {
			r.t.Fatal(err)
		}
		if err := json.Unmarshal(text, &entry); err != nil {
			r.t.Fatalf("%s: %v", text, err)
		}
		if entry.Slot != migrations.Slot || !entry.Window.From.Before(entry.Window.Until) {
			r.t.Errorf("got %s, want the slot and a window", text)
		}
		all = append(all, entry)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return all
}

// known lets a relay read the slot once: what nobody has seen alive is not made
// anew.
func (r *rig) known() {
	r.t.Helper()
	relay := r.relay()
	relay.Line("relay.connected")
	relay.Signal(terminate)
	relay.ExitedWith(0)
}

// takeSlot takes the slot away from whoever reads it; it may be gone already.
func (r *rig) takeSlot() {
	r.t.Helper()
	_, _ = r.pool.Exec(r.t.Context(), `SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active`)
	_, _ = r.pool.Exec(r.t.Context(), `SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = $1 AND NOT active`, migrations.Slot)
}

// wantNoSlot: the old one is gone, the new one is not there yet, and that is
// written down.
func (r *rig) wantNoSlot() {
	r.t.Helper()
	if n := r.count(`SELECT count(*) FROM pg_replication_slots`); n != 0 {
		r.t.Errorf("got %d slots, want none", n)
	}
	if n := r.count(`SELECT count(*) FROM event_runtime.cdc_losses WHERE recreated_at IS NULL`); n != 1 {
		r.t.Errorf("got %d open losses, want 1", n)
	}
}
