package relay

import "time"

// keeper holds what is read and not yet safe, and says how far the slot may be
// confirmed: the window of messages for JetStream, or the backlog of a webhook.
type keeper interface {
	mark(lsn uint64)           // everything put so far was everything up to there
	position() uint64          // how far everything is safe
	reset(now time.Time)       // forget everything: it is read again
	outstanding() int          // what may still be answered soon; asks vacant to tell when it is less
	advanced() <-chan struct{} // the position has moved
	vacant() <-chan struct{}   // there is room again
	troubled() int             // what was tried and is not safe
}

func (w *window) advanced() <-chan struct{} { return w.progress }
func (w *window) vacant() <-chan struct{}   { return w.room }
