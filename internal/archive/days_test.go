package archive

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/rs/zerolog"
)

// lines gives every log line to who waits for it.
type lines struct {
	mu  sync.Mutex
	all bytes.Buffer // guarded by mu
	saw chan string
}

func (l *lines) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(line)
	l.saw <- string(line)
	return len(line), nil
}

func today() time.Time { return time.Now().UTC().Truncate(24 * time.Hour) }

func TestDaysAreMadeAheadAndOnce(t *testing.T) {
	t.Parallel()
	pool := testenv.Postgres(t).Pool("runtime_maintenance")
	made, left, err := ensure(t.Context(), pool, today())
	if err != nil || made != 3*(DaysAhead-1) || left != DaysAhead { // the template has the days -1, 0 and 1
		t.Fatalf("got %d tables, %d days ahead, %v", made, left, err)
	}
	made, left, err = ensure(t.Context(), pool, today())
	if err != nil || made != 0 || left != DaysAhead {
		t.Errorf("again: got %d tables, %d days ahead, %v, want none new", made, left, err)
	}
	made, left, err = ensure(t.Context(), pool, today().AddDate(0, 0, 1))
	if err != nil || made != 3 || left != DaysAhead {
		t.Errorf("the next day: got %d tables, %d days ahead, %v, want one day more", made, left, err)
	}
}

// Whoever holds a lock for long is not queued up behind: the day that could not
// be made is told, and those before it stay.
func TestALockIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	blocker, err := db.Conn(testenv.Superuser).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := blocker.Exec(t.Context(), `LOCK TABLE event_runtime.submission_receipts IN ACCESS EXCLUSIVE MODE`); err != nil {
		t.Fatal(err)
	}
	pool := db.Pool("runtime_maintenance")
	if _, _, err := ensure(t.Context(), pool, today()); err == nil || !strings.Contains(err.Error(), "make day "+today().AddDate(0, 0, 2).Format(time.DateOnly)) || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("got %v, want the day and the reason", err)
	}
	if err := blocker.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, left, err := ensure(t.Context(), pool, today()); err != nil || left != DaysAhead {
		t.Errorf("afterwards: got %d days ahead, %v", left, err)
	}
}

func TestKeepTellsWhatItDid(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ role, want string }{
		"days are missing":      {"runtime_maintenance", `"event":"partitions.made","tables":39,"days_ahead":14`},
		"who may not make them": {"runtime_readonly", `"event":"partitions.failed"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, out := testenv.Postgres(t).Pool(tc.role), &lines{saw: make(chan string, 8)}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() { done <- Keep(ctx, pool, time.Now, zerolog.New(out)) }()
			if line := <-out.saw; !strings.Contains(line, tc.want) {
				t.Errorf("got %s, want %s", line, tc.want)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("at its end: %v", err)
			}
		})
	}
}
