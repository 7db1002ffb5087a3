package capture

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
)

// body watches a request's body for an end that never came. It changes nothing.
type body struct {
	io.ReadCloser
	ctx    context.Context // the request's: ended when the client is gone
	broken atomic.Bool     // handlers may read in another goroutine
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && err != io.EOF && neverCame(err, b.ctx.Err() != nil) {
		b.broken.Store(true)
	}
	return n, err
}

// neverCame says that err means a request whose rest did not come: the client
// stalled, or went away. A body that is too large or badly formed did come.
func neverCame(err error, gone bool) bool {
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) || errors.Is(err, http.ErrBodyReadAfterClose) {
		return false
	}
	var broken *net.OpError
	return gone || errors.Is(err, io.ErrUnexpectedEOF) || isTimeout(err) || errors.As(err, &broken)
}

// isTimeout says that err, or what it wraps, calls itself a timeout. Deadlines of
// contexts do.
func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}
