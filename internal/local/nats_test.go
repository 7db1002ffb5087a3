package local

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func startNATS(t *testing.T, cfg NATSConfig) *NATS {
	t.Helper()
	n, err := StartNATS(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(n.Stop)
	return n
}

func dial(t *testing.T, n *NATS) (*nats.Conn, jetstream.JetStream) {
	t.Helper()
	nc, err := nats.Connect(n.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return nc, js
}

func TestNATSKeepsItsMessagesAndItsPort(t *testing.T) {
	t.Parallel()
	cfg := NATSConfig{Dir: t.TempDir(), SyncAlways: true}
	n := startNATS(t, cfg)
	nc, js := dial(t, n)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s.a", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	if got := nc.MaxPayload(); got != natsMaxPayload {
		t.Errorf("got max payload %d, want %d", got, natsMaxPayload)
	}
	nc.Close()
	n.Stop()
	again := startNATS(t, cfg)
	if again.Port() != n.Port() {
		t.Errorf("got port %d, want %d", again.Port(), n.Port())
	}
	_, js = dial(t, again)
	s, err := js.Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("got %d messages, want 1", got)
	}
}

func TestNATSRefusesASecondOne(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	startNATS(t, NATSConfig{Dir: dir})
	if _, err := StartNATS(t.Context(), NATSConfig{Dir: dir}); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v, want %v", err, ErrInUse)
	}
}

func TestNATSPortTaken(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", loopback+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	dir, taken := t.TempDir(), other.Addr().(*net.TCPAddr).Port
	if _, err := StartNATS(t.Context(), NATSConfig{Dir: dir, Port: taken}); !errors.Is(err, errPortTaken) {
		t.Fatalf("a port asked for: got %v, want %v", err, errPortTaken)
	}
	if n := startNATS(t, NATSConfig{Dir: dir}); n.Port() == taken {
		t.Errorf("got port %d, want another one", taken)
	}
}

func TestRunNATSUntilItsContextEnds(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		done <- RunNATS(ctx, NATSConfig{Dir: t.TempDir(), Log: func(_, text string) {
			if strings.Contains(text, "Server is ready") {
				once.Do(func() { close(ready) })
			}
		}})
	}()
	<-ready
	cancel()
	if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want a quiet end", err)
	}
}

// A nats-server.conf is served as it says, and its store by one server only.
func TestRunNATSFile(t *testing.T) {
	t.Parallel()
	port, err := FreePort()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "nats-server.conf")
	write := func(text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(fmt.Sprintf("listen: %q\nauthorization { user: a, password: b }\njetstream { store_dir: %q, sync_interval: always }\n", fmt.Sprintf("%s:%d", loopback, port), filepath.Join(dir, "store")))
	ctx, cancel := context.WithCancel(t.Context())
	ready, done := make(chan struct{}), make(chan error, 1)
	var once sync.Once
	go func() {
		done <- RunNATSFile(ctx, path, func(_, text string) {
			if strings.Contains(text, "Server is ready") {
				once.Do(func() { close(ready) })
			}
		})
	}()
	select {
	case <-ready:
	case err := <-done:
		t.Fatal(err)
	}
	url := fmt.Sprintf("nats://%s:%d", loopback, port)
	if _, err := nats.Connect(url); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("got %v, want nobody let in without a name", err)
	}
	nc, err := nats.Connect(url, nats.UserInfo("a", "b"))
	if err != nil {
		t.Fatal(err)
	}
	nc.Close()
	if err := RunNATSFile(t.Context(), path, nil); !errors.Is(err, ErrInUse) {
		t.Errorf("got %v for a second one, want %v", err, ErrInUse)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("got %v, want a quiet end", err)
	}
	for text, want := range map[string]string{"listen: 1": "no store_dir", "jetstream { store_dir: $NO_SUCH_VARIABLE }": "NO_SUCH_VARIABLE", "jetstream { colour: red }": "colour"} {
		write(text)
		if err := RunNATSFile(t.Context(), path, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", text, err, want)
		}
	}
}

func TestNATSCluster(t *testing.T) {
	t.Parallel()
	ports := make([]int, 3)
	var routes []string
	for i := range ports {
		port, err := FreePort()
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = port
		routes = append(routes, fmt.Sprintf("nats://%s:%d", loopback, port))
	}
	var nodes []*NATS
	for i, port := range ports {
		nodes = append(nodes, startNATS(t, NATSConfig{Dir: t.TempDir(), ServerName: fmt.Sprintf("n%d", i),
			Cluster: NATSCluster{Name: "C", Port: port, Routes: routes}}))
	}
	_, js := dial(t, nodes[0])
	stream := jetstream.StreamConfig{Name: "S", Subjects: []string{"s.>"}, Replicas: 3}
	untilAnswered(t, func(ctx context.Context) error { // nobody answers until the three have found a leader
		_, err := js.CreateStream(ctx, stream)
		return err
	})
	untilAnswered(t, func(ctx context.Context) error {
		_, err := js.Publish(ctx, "s.a", nil)
		return err
	})
}

func untilAnswered(t *testing.T, ask func(ctx context.Context) error) {
	t.Helper()
	var err error
	for range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		if err = ask(ctx); err != nil {
			<-ctx.Done() // an answer that says no comes at once
		}
		cancel()
		if err == nil {
			return
		}
	}
	t.Fatal(err)
}
