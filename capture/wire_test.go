package capture

import (
	"bytes"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// tap keeps what a server wrote to its connections, so that a test can say what
// was on the wire at a moment.
type tap struct {
	net.Listener
	mu  sync.Mutex
	buf bytes.Buffer
}

type tapConn struct {
	net.Conn
	tap *tap
}

func (l *tap) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tapConn{c, l}, nil
}

func (c tapConn) Write(p []byte) (int, error) {
	c.tap.mu.Lock()
	c.tap.buf.Write(p)
	c.tap.mu.Unlock()
	return c.Conn.Write(p)
}

func (l *tap) sent() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// tapped serves h, and notes what was on the wire when each row was committed.
func tapped(t testing.TB, b *bench, h http.Handler) (*httptest.Server, *tap, <-chan string) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = quiet()
	l := &tap{Listener: s.Listener}
	s.Listener = l
	s.Start()
	t.Cleanup(s.Close)
	atCommit := make(chan string, 10)
	b.db.commit = func(context.Context) error { atCommit <- l.sent(); return nil }
	return s, l, atCommit
}
