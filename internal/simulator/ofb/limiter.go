package ofb

import (
	"sync"
	"time"

	"github.com/google/uuid"
)

// limiter admits at most n requests of an organisation in any one second. It keeps
// the last n admissions instead of a token bucket, because a full bucket lets
// twice the rate through in its first second.
type limiter struct {
	n      int
	window time.Duration

	mu   sync.Mutex
	last map[uuid.UUID]*admissions
}

type admissions struct {
	at   []time.Time // ring
	next int
}

func newLimiter(perSecond int) *limiter {
	return &limiter{n: perSecond, window: time.Second, last: map[uuid.UUID]*admissions{}}
}

// admit counts one request at now, or says how long to wait. Refused requests do not count.
func (l *limiter) admit(org uuid.UUID, now time.Time) (wait time.Duration, ok bool) {
	if l.n < 0 {
		return 0, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	a := l.last[org]
	if a == nil {
		a = &admissions{at: make([]time.Time, l.n)}
		l.last[org] = a
	}
	// An oldest admission in the future means that the clock was set back: it proves nothing.
	if age := now.Sub(a.at[a.next]); age >= 0 && age < l.window {
		return l.window - age, false
	}
	a.at[a.next] = now
	a.next = (a.next + 1) % l.n
	return 0, true
}
