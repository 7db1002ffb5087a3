package cli

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
