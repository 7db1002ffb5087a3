package cdc

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

func TestMain(m *testing.M) { testenv.Main(m) }

func TestStatementsFitTheSchema(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}
