package chaos

import (
	"flag"
	"strconv"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

// sideBySide is how many rigs there are at once. They wait most of the time, so
// there may be more of them than processors.
const sideBySide = 6

func TestMain(m *testing.M) {
	// Before the flags are read: -parallel on the command line wins.
	if err := flag.Set("test.parallel", strconv.Itoa(sideBySide+1)); err != nil { // and the whole tree
		panic(err)
	}
	testenv.Main(m)
}
