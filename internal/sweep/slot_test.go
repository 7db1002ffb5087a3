package sweep

import (
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/migrations"
)

// A slot that is lost, or made anew behind a row, is no place where that row may
// still be: nobody waits for the two minutes of a slot that is merely not read.
func TestWhatALostSlotHadToReadIsOwedAtOnce(t *testing.T) {
	t.Parallel()
	cluster := testenv.Cluster(t, testenv.Setting("max_slot_wal_keep_size", "1MB"))
	slot := func() {
		t.Helper()
		if _, err := migrations.EnsureSlot(t.Context(), cluster.URL(testenv.Superuser), migrations.Slot); err != nil {
			t.Fatal(err)
		}
	}
	slot()
	r := newRigOn(t, cluster)
	r.append(acme, 3)
	r.pass(90*time.Second).want("published while the slot has them", r.messages(), 0)
	r.eventually("the slot is lost", func() bool {
		r.db.Exec(`SELECT pg_logical_emit_message(false, 'noise', 'x'), pg_switch_wal()`)
		r.db.Exec(`CHECKPOINT`)
		return r.count(`SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'`) == 1
	})
	r.pass(100*time.Second).want("published when it is lost", r.messages(), 6)
	r.consume()
	r.arrived(6)
	r.db.Exec(`SELECT pg_drop_replication_slot('` + migrations.Slot + `')`)
	r.append(acme, 2)
	slot()
	r.rewind()
	r.pass(200*time.Second).want("published when there is another, behind them", r.messages(), 10)
	r.arrived(10)
	r.whole()
}
