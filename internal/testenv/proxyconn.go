package testenv

import (
	"context"
	"net"
	"sync"
	"syscall"
)

// A ProxyConn is one connection through a proxy.
type ProxyConn struct {
	ID   int
	Rule Rule

	proxy  *FaultProxy
	client *net.TCPConn
	gate   *gate

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc
	closed chan struct{} // both ends are closed and nothing more is counted

	mu      sync.Mutex
	server  *net.TCPConn // nil until dialled
	passed  [2]int64
	waiting []waiter
	faulted chan struct{}
	once    sync.Once
}

type waiter struct {
	way  Direction
	n    int64
	done chan struct{}
}

func newProxyConn(p *FaultProxy, id int, client *net.TCPConn, rule Rule) *ProxyConn {
	c := &ProxyConn{ID: id, Rule: rule, proxy: p, client: client, gate: newGate(), closed: make(chan struct{}), faulted: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// run lives as long as the connection.
func (c *ProxyConn) run() {
	defer close(c.closed)
	defer c.cut(false)
	if c.Rule.Refuse {
		c.fault()
		c.cut(true)
		return
	}
	server, ok := c.dial()
	if !ok {
		c.cut(true) // as the server would have answered
		return
	}
	var both sync.WaitGroup
	both.Go(func() { c.pump(Up, c.client, server, c.Rule.Up) })
	both.Go(func() { c.pump(Down, server, c.client, c.Rule.Down) })
	both.Wait()
}

// dial connects to the server. What is given up on the way there ends by a reset
// too, so the socket is made for that, and for an orderly end only when it is ours.
func (c *ProxyConn) dial() (*net.TCPConn, bool) {
	dialer := net.Dialer{Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			_ = syscall.SetsockoptLinger(int(fd), syscall.SOL_SOCKET, syscall.SO_LINGER, &syscall.Linger{Onoff: 1})
		})
	}}
	conn, err := dialer.DialContext(c.ctx, "tcp", c.proxy.target)
	if err != nil {
		return nil, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil { // cut meanwhile, by somebody who could not see it yet
		_ = conn.Close()
		return nil, false
	}
	c.server = conn.(*net.TCPConn)
	_ = c.server.SetLinger(-1)
	return c.server, true
}

// Passed counts the bytes written on in one direction.
func (c *ProxyConn) Passed(d Direction) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed[d]
}

// Reached is closed when n bytes have passed in one direction.
func (c *ProxyConn) Reached(d Direction, n int64) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	w := waiter{d, n, make(chan struct{})}
	if c.passed[d] >= n {
		close(w.done)
	} else {
		c.waiting = append(c.waiting, w)
	}
	return w.done
}

// Faulted is closed when the rule has acted.
func (c *ProxyConn) Faulted() <-chan struct{} { return c.faulted }

// Closed is closed when the connection is over at both ends.
func (c *ProxyConn) Closed() <-chan struct{} { return c.closed }

// Pause holds this connection's bytes back until Resume.
func (c *ProxyConn) Pause() { c.gate.shut() }

// Resume undoes Pause.
func (c *ProxyConn) Resume() { c.gate.open() }

// Reset resets both ends now; what is still on its way is lost.
func (c *ProxyConn) Reset() { c.cut(true) }

func (c *ProxyConn) fault() { c.once.Do(func() { close(c.faulted) }) }

func (c *ProxyConn) count(d Direction, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.passed[d] += int64(n)
	rest := c.waiting[:0]
	for _, w := range c.waiting {
		if c.passed[w.way] >= w.n {
			close(w.done)
		} else {
			rest = append(rest, w)
		}
	}
	c.waiting = rest
}

// cut closes both ends; with reset by a reset instead of an orderly end.
func (c *ProxyConn) cut(reset bool) {
	c.cancel()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, end := range []*net.TCPConn{c.client, c.server} {
		if end == nil {
			continue
		}
		if reset {
			_ = end.SetLinger(0)
		}
		_ = end.Close()
	}
}
