package flush

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/rs/zerolog"
)

// Lane is what is sent one request at a time, and what waits in it.
type Lane struct {
	TenantID       string
	Ecosystem      string
	API            string
	OrganisationID event.ID
	Policy         Policy
	Level          Level // Deadline also counts sealed batches
	Sealed         int   // batches that are ready to be sent
	Blocked        bool  // paused by its breaker, or asked to wait
}

// Desk does the work that the loop asks for.
type Desk interface {
	// Lanes lists where something waits.
	Lanes(ctx context.Context) ([]Lane, error)
	// Work sends what is due in a lane, and returns how many batches that were
	// when nothing more is.
	Work(ctx context.Context, l Lane) (sent int, err error)
}

// Config bounds the loop.
type Config struct {
	Parallel int           `env:"PARALLEL, default=64"` // lanes worked on at once, so that one that hangs holds nobody up
	Poll     time.Duration `env:"POLL, default=1s"`     // how long another replica's chunks may go unseen
}

// Loop asks again and again which lanes are due, and hands them to a Desk in
// the order of their slack.
type Loop struct {
	cfg  Config
	desk Desk
	now  func() time.Time
	log  zerolog.Logger
	wake chan struct{}

	mu   sync.Mutex
	busy map[laneKey]bool // guarded by mu
}

type laneKey struct {
	tenant, ecosystem, api string
	organisation           event.ID
}

func (l Lane) key() laneKey { return laneKey{l.TenantID, l.Ecosystem, l.API, l.OrganisationID} }

// NewLoop starts nothing.
func NewLoop(cfg Config, desk Desk, now func() time.Time, log zerolog.Logger) *Loop {
	return &Loop{cfg: cfg, desk: desk, now: now, log: log, wake: make(chan struct{}, 1), busy: map[laneKey]bool{}}
}

// Wake says that something new waits. It never blocks.
func (l *Loop) Wake() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// Run asks until ctx ends, then waits for what is being sent.
func (l *Loop) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer working.Wait()
	slots := make(chan struct{}, l.cfg.Parallel)
	for ctx.Err() == nil {
		sleep := l.cfg.Poll
		lanes, err := l.desk.Lanes(ctx)
		if err != nil && ctx.Err() == nil {
			l.log.Warn().Str("event", "lanes.unreadable").Err(err).Send()
		}
		for _, lane := range order(lanes, l.now()) {
			if next := l.start(ctx, lane, slots, &working); next < sleep {
				sleep = next
			}
		}
		select {
		case <-ctx.Done():
		case <-l.wake:
		case <-time.After(sleep):
		}
	}
	return nil
}

// start hands a lane over if it is due and a slot is free; otherwise it says how
// soon to ask again.
func (l *Loop) start(ctx context.Context, lane Lane, slots chan struct{}, working *sync.WaitGroup) time.Duration {
	reason, sleep := lane.Policy.Due(lane.Level, l.now())
	if lane.Blocked || lane.Policy.Held || lane.Sealed == 0 && !reason.Due() {
		return max(sleep, time.Millisecond)
	}
	if !l.take(lane.key()) {
		return l.cfg.Poll // its worker looks again before it returns
	}
	select {
	case slots <- struct{}{}:
	default:
		l.give(lane.key())
		return l.cfg.Poll // all slots are taken by lanes with less slack
	}
	working.Go(func() {
		sent, err := l.desk.Work(ctx, lane)
		if err != nil && ctx.Err() == nil {
			l.log.Error().Str("event", "lane.failed").Str("tenant_id", lane.TenantID).Str("api", lane.API).Err(err).Send()
		}
		<-slots
		l.give(lane.key())
		if sent > 0 {
			l.Wake() // something may have come meanwhile; a lane that did nothing waits for the poll
		}
	})
	return l.cfg.Poll
}

func (l *Loop) take(k laneKey) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy[k] {
		return false
	}
	l.busy[k] = true
	return true
}

func (l *Loop) give(k laneKey) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, k)
}

// order puts the lane with the least time left first; among equals the one that
// waits longest.
func order(lanes []Lane, now time.Time) []Lane {
	sorted := slices.Clone(lanes)
	slices.SortStableFunc(sorted, func(a, b Lane) int {
		return cmp.Or(cmp.Compare(a.Level.Slack(now), b.Level.Slack(now)), a.Level.Oldest.Compare(b.Level.Oldest))
	})
	return sorted
}
