package capture

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// maxHeld is how much of an answer waits in memory for its row.
const maxHeld = 64 << 10

// response passes an answer on, one write behind: while the handler runs there
// may always be a later write, so that the one at hand may be the last.
//
// Headers are passed on at once. net/http does not put them on the wire before
// the first body bytes, a flush, or the handler's return, but it reads them at
// this moment, and what a handler changes later must not get in.
type response struct {
	under    http.ResponseWriter
	x        *exchange
	status   int   // of the final header; 0 before it
	declared int64 // Content-Length; -1 without
	written  int64 // what the handler wrote, refused writes too, as net/http counts
	held     []byte
	buffer   *[]byte   // where held lives; goes back to the recorder
	flushed  time.Time // when the last byte left, while nothing is held
	passing  bool      // hijacked or over: nothing is held any more
}

func (w *response) Header() http.Header { return w.under.Header() }

// Unwrap is for deadlines and full duplex, which http.ResponseController sets
// further in.
func (w *response) Unwrap() http.ResponseWriter { return w.under }

func (w *response) WriteHeader(code int) {
	final := w.status == 0 && !w.passing && (code < 100 || code > 199 || code == http.StatusSwitchingProtocols)
	if !final {
		w.under.WriteHeader(code) // informational: leaves at once. Or superfluous: net/http says so
		return
	}
	w.identify()
	declared := contentLength(w.under.Header()) // before WriteHeader, which removes what it cannot read
	w.under.WriteHeader(code)                   // may panic: then there is no status
	w.status, w.declared = code, declared
}

// identify makes the answer carry the id that is recorded, whatever the handler
// made of it: a proxy adds that of its own upstream.
func (w *response) identify() {
	if h := w.under.Header(); !w.x.id.in(h) && w.status == 0 {
		h[interactionHeader] = []string{w.x.id.value}
	}
}

func contentLength(h http.Header) int64 {
	text := h.Get("Content-Length")
	if text == "" {
		return -1
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}

func (w *response) Write(p []byte) (int, error)       { return write(w, p) }
func (w *response) WriteString(s string) (int, error) { return write(w, s) }

// write holds p, after it let go what was held. Of a large one only the tail is
// held. Errors of a held write come with the next one.
func write[T []byte | string](w *response, p T) (int, error) {
	if w.passing {
		return w.under.Write([]byte(p))
	}
	if err := w.admit(len(p)); err != nil || len(p) == 0 {
		return 0, err
	}
	if err := w.release(); err != nil {
		return 0, err
	}
	large := max(0, len(p)-maxHeld)
	if large > 0 {
		if n, err := w.under.Write([]byte(p[:large])); err != nil {
			return n, err
		}
	}
	w.hold()
	w.held = append(w.held, p[large:]...)
	return len(p), nil
}

// admit refuses what net/http would refuse, since a held write is refused too
// late for the handler to hear of it.
func (w *response) admit(n int) error {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if n > 0 && (w.status < 200 || w.status == http.StatusNoContent || w.status == http.StatusNotModified) {
		return http.ErrBodyNotAllowed
	}
	w.written += int64(n)
	if n > 0 && w.declared >= 0 && w.written > w.declared {
		return http.ErrContentLength
	}
	return nil
}

// release lets the held write go.
func (w *response) release() error {
	if len(w.held) == 0 {
		return nil
	}
	n, err := w.under.Write(w.held)
	if err == nil && n < len(w.held) {
		err = io.ErrShortWrite
	}
	w.held = w.held[:0]
	return err
}

// ended is when the sending ends: now, while something waits to be sent, or when
// the last flush sent the rest.
func (w *response) ended() time.Time {
	if len(w.held) == 0 && !w.flushed.IsZero() {
		return w.flushed
	}
	return time.Now()
}
