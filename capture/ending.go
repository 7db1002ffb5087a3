package capture

import (
	"context"
	"net/http"
	"time"
)

// ending is how a client's call came back.
type ending struct {
	status int // of the response; 0 without one
	err    error
	ctx    context.Context // the caller's
	now    time.Time
}

// code is the status to report; false where there is none.
func (e ending) code() (int, bool) {
	switch {
	case e.err == nil:
		return e.status, true
	case e.timedOut():
		return http.StatusRequestTimeout, true
	default:
		return 0, false
	}
}

// timedOut also looks at the clock: http.Client has two ways to end a request at
// its deadline, and the error of one is plain "request canceled".
func (e ending) timedOut() bool {
	deadline, ok := e.ctx.Deadline()
	return isTimeout(e.err) || ok && !e.now.Before(deadline) || isTimeout(context.Cause(e.ctx))
}
