// Package deploy holds what runs around event-runtime against the code.
package deploy

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }
