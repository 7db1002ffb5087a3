package relay

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

// producer appends until it is told to stop: single rows and transactions of
// some size, both kinds of events.
type producer struct {
	r      *rig
	cancel context.CancelFunc
	work   sync.WaitGroup
	rows   int // owned by the goroutine until work is done
}

func (r *rig) produce() *producer {
	ctx, cancel := context.WithCancel(r.t.Context())
	p := &producer{r: r, cancel: cancel}
	p.work.Go(func() {
		var conn *pgx.Conn
		for i := 0; ctx.Err() == nil; i++ {
			n := []int{1, 1, 7, 1, 300}[i%5]
			if p.append(ctx, &conn, n, []string{"consent.advanced", "interaction.completed"}[i%2]) {
				p.rows += n
			}
			pause(ctx, 3*time.Millisecond)
		}
		if conn != nil {
			_ = conn.Close(context.WithoutCancel(ctx))
		}
	})
	r.t.Cleanup(func() { p.stop() })
	return p
}

// append reports whether the rows are committed for sure.
func (p *producer) append(ctx context.Context, conn **pgx.Conn, n int, eventType string) bool {
	if *conn == nil || (*conn).IsClosed() {
		var err error
		if *conn, err = pgx.Connect(ctx, p.r.pg.URL(testenv.Superuser)); err != nil {
			*conn = nil
			return false
		}
	}
	_, err := (*conn).Exec(context.WithoutCancel(ctx), sqlAppend, n, eventType)
	return err == nil
}

// stop ends it and gives the number of rows there are.
func (p *producer) stop() (atLeast int) {
	p.cancel()
	p.work.Wait()
	return p.rows
}

// rows are those the outbox has: what a producer did not hear of may be among them.
func (r *rig) rows() int { return len(r.outboxIDs()) }

// TestKilledAtCrashPoints kills the process where it hurts most.
func TestKilledAtCrashPoints(t *testing.T) {
	t.Parallel()
	for name, point := range map[string]string{
		"after the first publish":                "relay_after_publish",
		"after a publish within a transaction":   "relay_after_publish:700",
		"before the first confirmation":          "relay_after_puback_before_confirm",
		"before a later confirmation, with load": "relay_after_puback_before_confirm:3",
		"within a group":                         "relay_in_group",
		"within a later group":                   "relay_in_group:900",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if strings.Contains(name, "group") {
				r = newGroupRig(t)
			}
			load := r.produce()
			marker := filepath.Join(t.TempDir(), "hit")
			r.child(crash.Env+"="+point, crash.MarkerEnv+"="+marker).ExitedWith(128 + int(syscall.SIGKILL))
			if _, err := os.Stat(marker); err != nil {
				t.Fatalf("it died of something else: %v", err)
			}
			after := r.child()
			after.Line("relay.connected")
			load.stop()
			r.wantAll(r.rows())
			r.confirmed()
			after.Signal(syscall.SIGTERM)
			after.ExitedWith(0)
		})
	}
}

// TestKilledAtAnyTime kills one process after the other.
func TestKilledAtAnyTime(t *testing.T) {
	t.Parallel()
	t.Run("one by one", func(t *testing.T) { t.Parallel(); newRig(t).killAtAnyTime() })
	t.Run("in groups", func(t *testing.T) { t.Parallel(); newGroupRig(t).killAtAnyTime() })
}

func (r *rig) killAtAnyTime() {
	load := r.produce()
	for i := range 3 {
		child := r.child()
		child.Line("relay.connected")
		seen := r.count()
		await(r.t, "some progress", func() bool { return r.count() > seen+uint64(100*i) })
		child.Kill()
	}
	load.stop()
	r.start()
	r.wantAll(r.rows())
	r.confirmed()
}

// TestStoppedInOrder: what was acknowledged at shutdown is not sent again.
func TestStoppedInOrder(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for range 3 {
		run := r.start()
		r.append(500, "consent.advanced")
		r.append(1, "interaction.completed")
		n := int64(r.rows())
		await(t, "the answers", func() bool { return r.count() >= uint64(n) })
		run.stop()
		if got := run.Stats().Duplicate; got != 0 {
			t.Errorf("got %d messages twice, want none", got)
		}
		if got := run.Ready(); got != "stopped" {
			t.Errorf("got %q, want stopped", got)
		}
	}
	r.wantAll(r.rows())
}
