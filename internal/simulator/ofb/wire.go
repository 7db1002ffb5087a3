package ofb

import (
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"time"
)

// deliver puts an answer on the wire, or what a fault leaves of it.
func (s *Server) deliver(w http.ResponseWriter, a *answer, f *Fault) {
	s.deliverNoted(w, a, f, func(bool) {})
}

// deliverNoted reports whether all bytes of the answer left as far as this side can
// know. It says so to left just ahead of the last byte, and takes it back when that
// byte fails: whoever has read a whole answer finds it noted.
func (s *Server) deliverNoted(w http.ResponseWriter, a *answer, f *Fault, left func(whole bool)) bool {
	if f.resets() {
		reset(w)
		return false
	}
	head := w.Header()
	head.Set("Content-Type", jsonType)
	// Clients measure the skew of their clocks by this header, and createdAt is in our time.
	head.Set("Date", s.clock.now().Format(http.TimeFormat))
	for name, v := range a.header {
		head.Set(name, v)
	}
	head.Set("Content-Length", strconv.Itoa(len(a.body)))
	w.WriteHeader(a.status)
	last := max(len(a.body)-1, 0)
	switch {
	case f.is(CutAnswer):
		_ = send(w, a.body[:min(f.Bytes, len(a.body))])
		reset(w)
		return false
	case f.is(Truncate):
		_ = send(w, a.body)
		return false
	case f.is(SlowBody):
		if !s.dribble(w, a.body[:last], max(f.Bytes, 1), time.Duration(f.Delay)) {
			return false
		}
	default:
		if _, err := w.Write(a.body[:last]); err != nil {
			return false
		}
	}
	left(true)
	if send(w, a.body[last:]) != nil {
		left(false)
		return false
	}
	return true
}

// send writes and flushes: without the flush an error would show only after the
// handler has said that the answer left.
func send(w http.ResponseWriter, part []byte) error {
	if _, err := w.Write(part); err != nil {
		return err
	}
	return http.NewResponseController(w).Flush()
}

func (s *Server) dribble(w http.ResponseWriter, body []byte, n int, every time.Duration) bool {
	for len(body) > 0 {
		part := body[:min(n, len(body))]
		if send(w, part) != nil {
			return false
		}
		if body = body[len(part):]; !s.pause(every) {
			return false
		}
	}
	return true
}

// pause waits, and says no when the server is closing. It does not look at the
// request: a platform goes on with what it has read when its client hangs up.
func (s *Server) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.closing:
		return false
	}
}

// reset closes the connection with a TCP RST below TLS, so that the client sees
// neither a close_notify nor an orderly end.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // HTTP/2, or hijacked before: the next best thing
	}
	raw := conn
	if t, ok := conn.(*tls.Conn); ok {
		raw = t.NetConn()
	}
	if t, ok := raw.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = raw.Close()
}
