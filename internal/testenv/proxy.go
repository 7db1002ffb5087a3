package testenv

import (
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/local"
)

const acceptedSize = 4096

// A FaultProxy passes TCP connections on to a server, byte for byte, and breaks
// them where it is told to.
type FaultProxy struct {
	t        testing.TB
	target   string
	port     int
	accepted chan *ProxyConn
	gate     *gate
	work     sync.WaitGroup

	mu       sync.Mutex
	listener net.Listener // nil while refusing
	rule     Rule
	next     []Rule
	conns    []*ProxyConn
	closed   bool
}

// Proxy gives the test a proxy in front of target, a "host:port".
func Proxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	p := &FaultProxy{t: t, target: target, accepted: make(chan *ProxyConn, acceptedSize), gate: newGate()}
	t.Cleanup(p.close)
	for range portTries {
		port, err := local.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		p.port = port
		if err = p.open(); err == nil {
			return p
		}
		t.Logf("proxy: %v", err) // somebody was faster: another one
	}
	t.Fatalf("proxy: no port in %d tries", portTries)
	return nil
}

const portTries = 10

// Addr is where clients connect, a "host:port".
func (p *FaultProxy) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)) }

// Port is the port of Addr.
func (p *FaultProxy) Port() int { return p.port }

// Always sets the rule for the connections to come.
func (p *FaultProxy) Always(r Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rule = r
}

// Next adds a rule for one connection to come; each is used once, in order,
// before the one of Always counts again.
func (p *FaultProxy) Next(rules ...Rule) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = append(p.next, rules...)
}

// Accepted gives each connection when it is accepted.
func (p *FaultProxy) Accepted() <-chan *ProxyConn { return p.accepted }

// Conns lists every connection so far, the closed ones too.
func (p *FaultProxy) Conns() []*ProxyConn {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*ProxyConn(nil), p.conns...)
}

// Passed counts the bytes of all connections in one direction.
func (p *FaultProxy) Passed(d Direction) (n int64) {
	for _, c := range p.Conns() {
		n += c.Passed(d)
	}
	return n
}

// Refuse closes the port, as if no server listened; connections stay.
func (p *FaultProxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
	}
}

// Accept opens the port again.
func (p *FaultProxy) Accept() {
	p.t.Helper()
	late := time.NewTimer(reopenWithin)
	defer late.Stop()
	for {
		err := p.open()
		if err == nil {
			return
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-late.C:
			p.t.Fatalf("proxy: %v", err)
		}
	}
}

// reopenWithin is how long somebody who looks for a free port may sit on ours.
const reopenWithin = 2 * time.Second

func (p *FaultProxy) open() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.closed {
		return nil
	}
	l, err := net.Listen("tcp", p.Addr())
	if err != nil {
		return err
	}
	p.listener = l
	p.work.Go(func() { p.accept(l) })
	return nil
}

// Pause holds all bytes back, both ways, until Resume; a write under way ends
// first.
func (p *FaultProxy) Pause() { p.gate.shut() }

// Resume undoes Pause.
func (p *FaultProxy) Resume() { p.gate.open() }

// Reset resets every connection there is.
func (p *FaultProxy) Reset() {
	for _, c := range p.Conns() {
		c.Reset()
	}
}

func (p *FaultProxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		c, ok := p.add(conn.(*net.TCPConn))
		if !ok {
			_ = conn.Close()
			return
		}
		p.work.Go(c.run)
		select {
		case p.accepted <- c:
		default: // nobody waits for them
		}
	}
}

func (p *FaultProxy) add(conn *net.TCPConn) (*ProxyConn, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, false
	}
	rule := p.rule
	if len(p.next) > 0 {
		rule, p.next = p.next[0], p.next[1:]
	}
	c := newProxyConn(p, len(p.conns), conn, rule)
	p.conns = append(p.conns, c)
	return c, true
}

func (p *FaultProxy) close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Refuse()
	p.Reset()
	p.work.Wait()
}
