package capture

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"time"
)

// ReadFrom copies src write by write: the last of them must be held, so that the
// kernel cannot send it from a file.
func (w *response) ReadFrom(src io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, src)
}

// flush lets everything go that was written. A stream works this way: each of
// its pieces leaves with its flush, and only the answer's end waits for the row.
func (w *response) flush() error {
	if w.passing {
		return http.NewResponseController(w.under).Flush()
	}

	_ = w.admit(0)
	err := w.release()
	if failed := http.NewResponseController(w.under).Flush(); err == nil {
		err = failed
	}
	w.flushed = time.Now()
	return err
}

// hijack hands the connection over, with the call recorded: from here on nobody
// can tell where it ends.
func (w *response) hijack() (net.Conn, *bufio.ReadWriter, error) {
	if !w.passing {
		_ = w.release()
	}
	conn, rw, err := http.NewResponseController(w.under).Hijack()
	if err == nil && !w.passing {
		w.passing = true
		w.x.hijacked()
	}
	return conn, rw, err
}

// CloseNotify tells when the client is gone. Every writer has it: gin takes it for
// granted, so that its streams would panic without. Where the server's own has
// none, the request's context says the same.
func (w *response) CloseNotify() <-chan bool {
	if under, ok := w.under.(interface{ CloseNotify() <-chan bool }); ok {
		return under.CloseNotify()
	}
	gone := make(chan bool, 1)
	context.AfterFunc(w.x.outer.Context(), func() { gone <- true })
	return gone
}

type flushing struct{ w *response }

func (f flushing) Flush()            { _ = f.w.flush() }
func (f flushing) FlushError() error { return f.w.flush() }

type hijacking struct{ w *response }

func (h hijacking) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.w.hijack() }

// writer is the response with exactly those of these abilities that the server's
// own has: handlers ask for them by type, and act on the answer.
func (x *exchange) writer() http.ResponseWriter {
	w := &x.response
	f, h := flushing{w}, hijacking{w}
	push, pushes := w.under.(http.Pusher)
	flushes := can[http.Flusher](w.under) || can[interface{ FlushError() error }](w.under)
	switch hijacks := can[http.Hijacker](w.under); {
	case flushes && hijacks && pushes:
		return struct {
			*response
			flushing
			hijacking
			http.Pusher
		}{w, f, h, push}
	case flushes && hijacks:
		return struct {
			*response
			flushing
			hijacking
		}{w, f, h}
	case flushes && pushes:
		return struct {
			*response
			flushing
			http.Pusher
		}{w, f, push}
	case hijacks && pushes:
		return struct {
			*response
			hijacking
			http.Pusher
		}{w, h, push}
	case flushes:
		return struct {
			*response
			flushing
		}{w, f}
	case hijacks:
		return struct {
			*response
			hijacking
		}{w, h}
	case pushes:
		return struct {
			*response
			http.Pusher
		}{w, push}
	default:
		return w
	}
}

// can looks for an ability the way http.ResponseController does.
func can[T any](w http.ResponseWriter) bool {
	for w != nil {
		if _, ok := w.(T); ok {
			return true
		}
		inner, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return false
		}
		w = inner.Unwrap()
	}
	return false
}
