package testenv

import (
	"errors"
	"io"
	"net"
	"time"
)

const (
	chunkSize  = 32 << 10
	lineChunks = 256 // chunks on their way in a delayed connection
)

// errOver ends a direction that a fault has ended, or that nobody may read on.
var errOver = errors.New("over")

// pump carries one direction until its end: the sender's, a fault, or the
// connection's.
func (c *ProxyConn) pump(way Direction, from, to *net.TCPConn, f Fault) {
	if _, act := f.split(0, 0); act {
		c.act(f.Then, from, to)
		return
	}
	write := func(chunk []byte) error { return c.pass(way, chunk, from, to, f) }
	var err error
	if c.Rule.Latency > 0 {
		err = c.delayed(from, write)
	} else {
		err = direct(from, write)
	}
	switch {
	case err == nil:
		_ = to.CloseWrite()
	case !errors.Is(err, errOver):
		c.cut(true) // one end is gone without a word: the other one must hear of it
	}
}

// direct returns nil when the sender ended in order. Nothing is held but the
// chunk in hand, so a receiver that does not read holds the sender up.
func direct(from io.Reader, write func([]byte) error) error {
	buf := make([]byte, chunkSize)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if err := write(buf[:n]); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// late is a chunk, or the end of them with its reason, and when it is due.
type late struct {
	chunk []byte
	end   error
	due   time.Time
}

// delayed is direct with each chunk, and the end, as much later as the rule says.
func (c *ProxyConn) delayed(from *net.TCPConn, write func([]byte) error) error {
	line := make(chan late, lineChunks)
	stop, done := make(chan struct{}), make(chan struct{})
	put := func(l late) error {
		l.due = time.Now().Add(c.Rule.Latency)
		select {
		case line <- l:
			return nil
		case <-stop:
			return errOver
		}
	}
	go func() {
		defer close(done)
		err := direct(from, func(chunk []byte) error { return put(late{chunk: append([]byte(nil), chunk...)}) })
		_ = put(late{end: err})
	}()
	defer func() { close(stop); c.cancelRead(from, done) }()
	for l := range line {
		if !sleep(c.ctx, time.Until(l.due)) {
			return errOver
		}
		if l.chunk == nil {
			return l.end
		}
		if err := write(l.chunk); err != nil {
			return err
		}
	}
	return nil
}

// cancelRead ends a reader that may be waiting for a byte that never comes.
func (c *ProxyConn) cancelRead(from *net.TCPConn, done <-chan struct{}) {
	_ = from.SetReadDeadline(time.Now())
	<-done
}

// pass writes on what the fault lets pass, counts it, and acts when it is time.
func (c *ProxyConn) pass(way Direction, chunk []byte, from, to *net.TCPConn, f Fault) error {
	if !c.proxy.gate.wait(c.ctx) || !c.gate.wait(c.ctx) {
		return errOver
	}
	n, act := f.split(c.Passed(way), int64(len(chunk)))
	if n > 0 {
		written, err := to.Write(chunk[:n])
		c.count(way, written)
		if err != nil {
			return err
		}
	}
	if !act {
		return nil
	}
	c.act(f.Then, from, to)
	return errOver
}

// act does what the fault says and returns when this direction is over.
func (c *ProxyConn) act(what Action, from, to *net.TCPConn) {
	switch what {
	case Reset:
		awaitDelivered(c.ctx, to) // a reset would drop what is still in our buffers
		c.cut(true)
		c.fault()
	case Blackhole:
		c.fault()
		_, _ = io.Copy(io.Discard, from)
		<-c.ctx.Done() // an end would be told to nobody either
	case HalfClose:
		_ = to.CloseWrite()
		c.fault()
		_, _ = io.Copy(io.Discard, from)
	case Stall:
		c.fault()
		<-c.ctx.Done()
	}
}
