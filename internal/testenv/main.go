package testenv

import (
	"fmt"
	"os"

	"go.uber.org/goleak"
)

// Main runs a package's tests, then looks for goroutines they left behind.
//
//	func TestMain(m *testing.M) { testenv.Main(m) }
//
// It must come first in TestMain: the test binary is also the program that keeps
// the shared cluster, and here it learns which of the two it is.
func Main(m interface{ Run() int }, options ...goleak.Option) {
	if dir := os.Getenv(keeperEnv); dir != "" {
		os.Exit(keeperMain(dir))
	}
	process.mayKeep.Store(true)
	code := m.Run()
	process.close()
	if err := goleak.Find(options...); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines left behind:", err)
		code = 1
	}
	os.Exit(code)
}
