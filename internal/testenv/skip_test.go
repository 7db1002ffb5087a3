package testenv

import (
	"path/filepath"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv/skip"
)

func TestContainersSayWhatIsMissing(t *testing.T) { // not parallel: it changes the environment
	t.Setenv(skip.Env, filepath.Join(t.TempDir(), "skips"))
	for mode, want := range map[string]string{
		"":           "needs a container engine: set TESTENV=containers",
		"containers": "TESTENV=containers starts no containers yet",
	} {
		t.Setenv(ModeEnv, mode)
		if !skips(t, want) {
			t.Errorf("TESTENV=%s: want a skip with %q", mode, want)
		}
	}
}

// skips runs Containers in a goroutine, for a skip ends it.
func skips(t *testing.T, want string) bool {
	t.Helper()
	r := &endingRecorder{recorder{name: "Test"}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { _ = recover() }()
		Containers(r)
	}()
	<-done
	return r.skipped == want
}

type endingRecorder struct{ recorder }

func (r *endingRecorder) Skip(args ...any) { r.recorder.Skip(args...); panic("skipped") }
