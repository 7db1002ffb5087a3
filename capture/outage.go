package capture

import (
	"sync"
	"time"
)

// outage is the time in which events wait. It begins and ends in the log at most
// once a minute: a database at the edge of Config.Wait would flap.
type outage struct {
	mu   sync.Mutex
	open bool      // guarded by mu
	told time.Time // when it last began; guarded by mu
}

const toldEvery = time.Minute

func (o *outage) begin(now time.Time) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.open || !o.told.IsZero() && now.Sub(o.told) < toldEvery {
		return false
	}
	o.open, o.told = true, now
	return true
}

func (o *outage) end() (since time.Time, was bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	was, o.open = o.open, false
	return o.told, was
}

// deferred tells that calls go on without their rows.
func (r *Recorder) deferred(err error) {
	if r.outage.begin(time.Now()) {
		r.cfg.Log.Warn().Str("event", "capture.deferred").Str("code", cause(err)).Str("tenant_id", r.cfg.TenantID).Send()
	}
}

// caughtUp tells that nothing waits any more.
func (r *Recorder) caughtUp() {
	if since, was := r.outage.end(); was {
		s := r.Stats()
		r.cfg.Log.Info().Str("event", "capture.caught_up").Str("tenant_id", r.cfg.TenantID).Dur("took", time.Since(since)).
			Int64("late", s.Server.Late+s.Client.Late).Int64("lost", s.Server.Lost+s.Client.Lost).Send()
	}
}
