package testenv

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A far is the server behind a proxy: it keeps what it reads from each
// connection and answers as it is told.
type far struct {
	l     net.Listener
	conns chan net.Conn
}

func listen(t *testing.T) *far {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &far{l, make(chan net.Conn, 100)}
	var work sync.WaitGroup
	work.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			f.conns <- conn
		}
	})
	t.Cleanup(func() { _ = l.Close(); work.Wait() })
	return f
}

// pair opens a connection through the proxy and gives both ends of it.
func pair(t rapid.TB, p *FaultProxy, f *far) (client, server net.Conn, via *ProxyConn) {
	t.Helper()
	client, err := net.Dial("tcp", p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	server, via = <-f.conns, <-p.Accepted()
	return client, server, via
}

func closing(t *testing.T, conns ...net.Conn) {
	t.Cleanup(func() {
		for _, c := range conns {
			_ = c.Close()
		}
	})
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestFaultSplitLetsExactlyAfterPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := Fault{After: rapid.Int64Range(0, 1000).Draw(t, "after"), Then: Reset, Await: rapid.Bool().Draw(t, "await")}
		chunks := rapid.SliceOf(rapid.Int64Range(1, 400)).Draw(t, "chunks")
		var pass, passed, sent int64
		_, act := f.split(0, 0)
		for i := 0; i < len(chunks) && !act; i++ {
			sent += chunks[i]
			pass, act = f.split(passed, chunks[i])
			passed += pass
		}
		if want := min(sent, f.After); passed != want {
			t.Fatalf("got %d bytes passed, want %d of %d", passed, want, sent)
		}
		if due := sent > f.After || sent == f.After && !f.Await; act != due {
			t.Fatalf("after %d of %d bytes: got acted %v, want %v", sent, f.After, act, due)
		}
	})
}

// Whatever the fault, the direction and the chunks: exactly After bytes reach the
// other end, and they are the right ones.
func TestProxyCutsAtTheExactByte(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	rapid.Check(t, func(t *rapid.T) {
		fault := Fault{
			After: rapid.Int64Range(0, 200_000).Draw(t, "after"),
			Then:  rapid.SampledFrom([]Action{Reset, HalfClose}).Draw(t, "then"),
			Await: rapid.Bool().Draw(t, "await"),
		}
		fault.Await = fault.Await || fault.After == 0 // else there is no connection to look at
		way := rapid.SampledFrom([]Direction{Up, Down}).Draw(t, "way")
		rule := Rule{Latency: time.Duration(rapid.SampledFrom([]int{0, 0, 1}).Draw(t, "latency")) * time.Millisecond}
		if way == Up {
			rule.Up = fault
		} else {
			rule.Down = fault
		}
		sent := bytesOf(int(fault.After) + rapid.IntRange(1, 100_000).Draw(t, "beyond"))
		p.Next(rule)
		client, server, via := pair(t, p, f)
		defer func() { _, _ = client.Close(), server.Close() }()
		from, to := client, server
		if way == Down {
			from, to = server, client
		}
		go func() { // it may be cut off in the middle of it
			for rest := sent; len(rest) > 0; {
				n, err := from.Write(rest[:min(len(rest), 7919)])
				if err != nil {
					return
				}
				rest = rest[n:]
			}
		}()
		got, err := io.ReadAll(to)
		<-via.Faulted()
		if !bytes.Equal(got, sent[:fault.After]) {
			t.Fatalf("got %d bytes, want the first %d", len(got), fault.After)
		}
		if reset := errors.Is(err, syscall.ECONNRESET); reset != (fault.Then == Reset) {
			t.Fatalf("%s: got end %v", fault.Then, err)
		}
		if via.Passed(way) != fault.After {
			t.Fatalf("got %d bytes counted, want %d", via.Passed(way), fault.After)
		}
	})
}

func TestProxyPassesEverything(t *testing.T) {
	t.Parallel()
	for name, rule := range map[string]Rule{"at once": {}, "late": {Latency: 5 * time.Millisecond}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := listen(t)
			p := Proxy(t, f.l.Addr().String())
			p.Always(rule)
			client, server, via := pair(t, p, f)
			closing(t, client, server)
			sent := bytesOf(1 << 20)
			began := time.Now()
			go func() { _, _ = client.Write(sent); _ = client.(*net.TCPConn).CloseWrite() }()
			got, err := io.ReadAll(server)
			if err != nil || !bytes.Equal(got, sent) {
				t.Fatalf("got %d bytes and %v, want %d", len(got), err, len(sent))
			}
			if took := time.Since(began); took < rule.Latency {
				t.Errorf("got it after %v, want at least %v", took, rule.Latency)
			}
			_, _ = server.Write([]byte("answer")) // the other way is still open
			_ = server.Close()
			if got, err := io.ReadAll(client); err != nil || string(got) != "answer" {
				t.Errorf("got %q and %v, want the answer", got, err)
			}
			<-via.Closed()
			if up, down := p.Passed(Up), p.Passed(Down); up != 1<<20 || down != 6 {
				t.Errorf("got %d up and %d down, want %d and 6", up, down, 1<<20)
			}
		})
	}
}

func TestProxyLosesAnAnswerThatWasGiven(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	p.Next(Rule{Down: Fault{Then: Reset, Await: true}})
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	_, _ = client.Write([]byte("request"))
	got := make([]byte, 7)
	if _, err := io.ReadFull(server, got); err != nil || string(got) != "request" {
		t.Fatalf("got %q and %v, want the request", got, err)
	}
	select {
	case <-via.Faulted():
		t.Fatal("cut before there was an answer")
	default:
	}
	_, _ = server.Write([]byte("stored"))
	if got, err := io.ReadAll(client); len(got) > 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q and %v, want a reset and nothing else", got, err)
	}
}

func TestProxyBlackhole(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	p.Next(Rule{Up: Fault{After: 3, Then: Blackhole}})
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	if _, err := client.Write(bytesOf(10 << 20)); err != nil { // more than buffers hold: it is read
		t.Fatal(err)
	}
	<-via.Faulted()
	_ = client.Close()
	got := make([]byte, 3)
	if _, err := io.ReadFull(server, got); err != nil {
		t.Fatal(err)
	}
	wantSilence(t, server)
}

func wantSilence(t *testing.T, conn net.Conn) {
	t.Helper()
	_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := conn.Read(make([]byte, 1)); n > 0 || !errors.Is(err, context.DeadlineExceeded) && !isTimeout(err) {
		t.Errorf("got %d bytes and %v, want silence", n, err)
	}
	_ = conn.SetReadDeadline(time.Time{})
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func TestProxyStallHoldsTheSenderUp(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	p.Next(Rule{Up: Fault{After: 1, Then: Stall}})
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	sent := bytesOf(64 << 20) // more than buffers hold
	_, _ = client.Write(sent[:1])
	<-via.Faulted()
	_ = client.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := client.Write(sent); !isTimeout(err) {
		t.Errorf("got %v, want a write that does not end", err)
	}
	via.Reset()
	<-via.Closed()
}

func TestProxyPauses(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	for name, c := range map[string]interface {
		Pause()
		Resume()
	}{"all": p, "one connection": via} {
		c.Pause()
		before := via.Passed(Up)
		_, _ = client.Write([]byte("x"))
		wantSilence(t, server)
		reached := via.Reached(Up, before+1)
		c.Resume()
		<-reached
		if n, err := server.Read(make([]byte, 10)); n != 1 || err != nil {
			t.Errorf("%s: got %d bytes and %v after resuming, want 1", name, n, err)
		}
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	open, server, _ := pair(t, p, f)
	closing(t, open, server)
	p.Refuse()
	if conn, err := net.Dial("tcp", p.Addr()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("closed port: got %v and %v, want refused", conn, err)
	}
	_, _ = open.Write([]byte("x"))
	if _, err := io.ReadFull(server, make([]byte, 1)); err != nil {
		t.Errorf("a connection from before: got %v, want it to go on", err)
	}
	p.Accept()
	p.Next(Rule{Refuse: true}, Rule{})
	wantReset(t, p)
	if via := <-p.Accepted(); !via.Rule.Refuse || len(f.conns) > 0 {
		t.Error("the server heard of a refused connection")
	}
	client, server, _ := pair(t, p, f) // the next rule lets it pass
	closing(t, client, server)
}

func TestProxyResetsWhatThereIs(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	p.Reset()
	<-via.Closed()
	for name, end := range map[string]net.Conn{"client": client, "server": server} {
		if _, err := end.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: got %v, want a reset", name, err)
		}
	}
}

func TestProxyPassesAResetOn(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	client, server, via := pair(t, p, f)
	closing(t, client, server)
	_ = client.(*net.TCPConn).SetLinger(0)
	_ = client.Close()
	if _, err := server.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
	<-via.Closed()
}

func TestProxyWithoutAServer(t *testing.T) {
	t.Parallel()
	f := listen(t)
	p := Proxy(t, f.l.Addr().String())
	_ = f.l.Close()
	wantReset(t, p)
}

// wantReset connects and is reset; that may come before connecting has returned.
func wantReset(t *testing.T, p *FaultProxy) {
	t.Helper()
	conn, err := net.Dial("tcp", p.Addr())
	if err == nil {
		closing(t, conn)
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v, want a reset", err)
	}
}
