package testenv

import "time"

// Direction is one way through a proxy.
type Direction int

// Up is from the client to the server, Down is back.
const (
	Up Direction = iota
	Down
)

func (d Direction) String() string { return [...]string{"up", "down"}[d] }

// Action is what a proxy does to a connection.
type Action string

// The zero Action lets everything pass.
const (
	Reset     Action = "reset"      // both ends see a connection reset
	Blackhole Action = "blackhole"  // the rest is read and dropped; the connection stays open
	Stall     Action = "stall"      // the rest is not even read: the sender fills its buffers
	HalfClose Action = "half_close" // the receiver sees the end; the rest is dropped, the other way goes on
)

// Fault lets exactly After bytes pass in one direction, and then acts.
type Fault struct {
	After int64
	Then  Action
	// Await acts only when a further byte has come, and so proves that the sender
	// has spoken: a Reset with After 0 and Await loses an answer that was given.
	Await bool
}

// Rule is what happens to one connection.
type Rule struct {
	Refuse   bool // reset at once; the server never hears of it
	Up, Down Fault
	Latency  time.Duration // on each byte, each way; it does not narrow the pipe
}

// split decides how many of n waiting bytes may pass after passed ones, and
// whether the time to act has come then. It holds no state.
func (f Fault) split(passed, n int64) (pass int64, act bool) {
	room := f.After - passed
	switch {
	case f.Then == "" || n < room:
		return n, false
	case n == room:
		return n, !f.Await
	default:
		return room, true
	}
}
