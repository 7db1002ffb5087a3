package examples

import (
	"fmt"
	"os"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(inWork{m}) }

// work is a directory of this process: what is compiled in it is for all tests.
var work string

type inWork struct{ m *testing.M }

// Run runs the tests, and leaves nothing behind.
func (w inWork) Run() (code int) {
	var err error
	if work, err = os.MkdirTemp("", "examples"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(work) }()
	return w.m.Run()
}
