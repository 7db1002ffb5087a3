package testenv

import (
	"testing"

	"github.com/nats-io/nats.go/jetstream"
)

func TestNATSRestarts(t *testing.T) {
	t.Parallel()
	n := NATS(t, SyncAlways(), MaxFileStore(64<<20))
	js, url := n.JetStream(), n.URL()
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "s", nil); err != nil {
		t.Fatal(err)
	}
	n.Restart()
	if n.URL() != url {
		t.Errorf("got %s, want %s", n.URL(), url)
	}
	s, err := n.JetStream().Stream(t.Context(), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := s.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("got %d messages, want 1", got)
	}
}

func TestNATSStoreDirOutlivesTheServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := NATS(t, StoreDir(dir))
	if _, err := first.JetStream().CreateStream(t.Context(), jetstream.StreamConfig{Name: "S"}); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	if _, err := NATS(t, StoreDir(dir)).JetStream().Stream(t.Context(), "S"); err != nil {
		t.Errorf("got %v, want the stream of the first server", err)
	}
}

func BenchmarkNATS(b *testing.B) {
	for b.Loop() {
		NATS(b).Stop()
	}
}
