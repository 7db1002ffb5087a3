package capture

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// witness is a pool that looks into each transaction before its commit.
type witness struct {
	*pgxpool.Pool
	mu    sync.Mutex
	modes []string // guarded by mu
}

func (w *witness) Begin(ctx context.Context) (pgx.Tx, error) {
	tx, err := w.Pool.Begin(ctx)
	return &witnessed{tx, w}, err
}

type witnessed struct {
	pgx.Tx
	by *witness
}

func (tx *witnessed) Commit(ctx context.Context) error {
	var mode string
	if err := tx.QueryRow(ctx, "show synchronous_commit").Scan(&mode); err != nil {
		return err
	}
	tx.by.mu.Lock()
	tx.by.modes = append(tx.by.modes, mode)
	tx.by.mu.Unlock()
	return tx.Tx.Commit(ctx)
}

// The recorder's setting holds, whatever the role has, and ends with its
// transaction: the pool is the bank's.
func TestDurabilityIsThatOfTheTransaction(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	for durability, want := range map[Durability]string{"": "on", Durable: "on", Replicated: "remote_apply", Relaxed: "off"} {
		for _, before := range []string{"off", "local", "on", "remote_apply"} {
			cfg, err := pgxpool.ParseConfig(db.URL("runtime_producer"))
			if err != nil {
				t.Fatal(err)
			}
			cfg.MaxConns = 1
			cfg.ConnConfig.RuntimeParams["synchronous_commit"] = before
			pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			w := &witness{Pool: pool}
			b := newBank(t, db, w, func(c *Config) { c.Durability = durability })
			b.ask()
			b.drained()
			if len(w.modes) != 1 || w.modes[0] != want {
				t.Errorf("%q over %s: got %v, want %s", durability, before, w.modes, want)
			}
			var after string
			if err := pool.QueryRow(t.Context(), "show synchronous_commit").Scan(&after); err != nil || after != before {
				t.Errorf("%q over %s: it is %s afterwards, %v", durability, before, after, err)
			}
			pool.Close()
		}
	}
}

// Postgres itself refuses two rows of many, one for ever and one because it is
// there. The rest is committed, in few transactions.
func TestPostgresRefusesRowsOfAGroup(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	w := &witness{Pool: db.Pool("runtime_producer")}
	b := newBank(t, db, w)
	group := make([]*item, 64)
	for i := range group {
		group[i] = b.item(t.Context(), &observation{
			role: event.Server, endpoint: "/x", method: "GET", status: 200, at: time.Now(), took: time.Millisecond, id: interactionOf(nil),
		}, Details{})
	}
	old, there := group[17], group[40]
	old.event.ID = event.NewID(time.Now().Add(-25 * time.Hour)).String()
	verdicts := map[*item]verdict{}
	note := func(it *item, v verdict, _ error) { verdicts[it] = v }
	b.attempt(t.Context(), []*item{there}, note)
	b.attempt(t.Context(), group, note)
	for i, it := range group {
		if want := map[bool]verdict{true: again, false: stored}[it == old]; verdicts[it] != want {
			t.Errorf("event %d: got %v, want %v", i, verdicts[it], want)
		}
	}
	if got := len(b.rows()); got != 63 {
		t.Errorf("got %d rows, want 63", got)
	}
	if got := len(w.modes); got > 1+2*6 { // one for each half that is whole, on the way to either
		t.Errorf("got %d transactions", got)
	}
}

// Calls that gather while Postgres is away go on, and each is stored later.
func TestPostgresIsAwayForManyCallers(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	pool, proxy := behind(t, db)
	b := newBank(t, db, pool)
	b.ask()
	b.cfg.Wait = 100 * time.Millisecond
	proxy.Pause()
	const calls = 64
	var work sync.WaitGroup
	for range calls {
		work.Go(func() {
			if held := b.ask(); held > 4*time.Second { // less than an attempt: the machine may be busy
				t.Errorf("the answer was held %v", held)
			}
		})
	}
	work.Wait()
	if got := b.Stats(); got != (Stats{Server: Counts{Captured: 1}, Waiting: calls}) {
		t.Errorf("got %+v, want %d waiting", got, calls)
	}
	proxy.Resume()
	b.drained()
	if got := b.Stats(); got != (Stats{Server: Counts{Captured: 1, Late: calls}}) || len(b.rows()) != calls+1 {
		t.Errorf("got %+v and %d rows, want %d late: %s", got, len(b.rows()), calls, b.log)
	}
}
