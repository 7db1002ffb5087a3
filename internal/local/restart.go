package local

import "time"

// Restart says when a child that ended is started again.
type Restart struct {
	First  time.Duration // the wait after a first crash; doubled each time
	Most   time.Duration // the longest wait
	Stable time.Duration // a run as long as this makes the next crash a first one
	Early  time.Duration // a run shorter than this is a failure to start
	Tries  int           // so many of those in a row, and it is hopeless
}

// DefaultRestart is what `up` uses.
var DefaultRestart = Restart{
	First: 100 * time.Millisecond, Most: 10 * time.Second,
	Stable: 30 * time.Second, Early: time.Second, Tries: 5,
}

// history is what a restart needs to know of the runs before.
type history struct {
	wait  time.Duration // the last one
	early int           // failures to start in a row
}

// verdict names what follows an exit.
type verdict string

const (
	restart  verdict = "restart"  // after the wait
	hopeless verdict = "hopeless" // it cannot start; somebody must look
)

// after decides what follows a run that lasted ran. An exit that was asked for
// (a kill by chaos) says nothing about the child.
func (r Restart) after(h history, ran time.Duration, asked bool) (history, verdict, time.Duration) {
	switch {
	case asked || ran >= r.Stable:
		return history{wait: r.First}, restart, r.First
	case ran >= r.Early:
		h.early = 0
	default:
		h.early++
	}
	h.wait = min(max(2*h.wait, r.First), r.Most)
	if h.early >= r.Tries {
		return h, hopeless, 0
	}
	return h, restart, h.wait
}
