package submit_test

import (
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
)

func TestStatementsFitTheSchema(t *testing.T) {
	t.Parallel()
	testenv.Prepare(t, testenv.Postgres(t), ".")
}
