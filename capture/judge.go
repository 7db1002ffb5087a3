package capture

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"

	"github.com/finnest/event-runtime/outbox"
	"github.com/jackc/pgx/v5/pgconn"
)

// A verdict is what an attempt to store an event came to. The zero value tries
// again: a failure nobody has thought about must not cost the event.
type verdict int

const (
	again verdict = iota
	stored
	refused // by its content, so for ever
)

// uniqueViolation of the event's own id: an earlier attempt was committed after
// all, although we never heard so.
const uniqueViolation = "23505"

func judge(err error) verdict {
	if err == nil {
		return stored
	}
	var invalid *outbox.InvalidError
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &invalid):
		return refused
	case errors.As(err, &pg) && pg.Code == uniqueViolation:
		return stored
	default:
		return again
	}
}

// maybeOne reports an error that one event may have brought upon all of its
// transaction: the database answered, and not about itself. What it has not been
// known to say counts as one event's; to find out costs two transactions an event.
func maybeOne(err error) bool {
	var pg *pgconn.PgError
	switch {
	case judge(err) == refused:
		return true
	case errors.As(err, &pg) && len(pg.Code) == 5:
		return !slices.Contains(aboutItself, pg.Code[:2])
	default:
		return false
	}
}

// aboutItself are the classes of SQLSTATE that no event can cause.
var aboutItself = []string{
	"08", // connection
	"25", // state of the transaction: a standby, idle for too long
	"28", // who we are
	"3D", // no such database
	"40", // rolled back: serialisation, deadlock
	"42", // rights, missing objects
	"53", // resources: disk, memory, connections
	"55", // locks
	"57", // shut down, starting, cancelled
	"58", // its system
}

// cause names err for logs. It is a code and never the error's text, which may
// hold addresses, or a row.
func cause(err error) string {
	var invalid *outbox.InvalidError
	var pg *pgconn.PgError
	var connect *pgconn.ConnectError
	var network net.Error
	switch {
	case err == nil:
		return ""
	case errors.As(err, &invalid):
		return invalid.Reason
	case errors.As(err, &pg):
		return "sqlstate_" + strings.ToLower(pg.Code)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "timeout"
	case errors.As(err, &connect):
		return "unreachable"
	case errors.Is(err, errPanicked):
		return "panicked"
	case errors.As(err, &network):
		return "connection_lost"
	default:
		return "unknown"
	}
}

// field is where the outbox found an event wrong: a name, never a value.
func field(err error) string {
	var invalid *outbox.InvalidError
	if errors.As(err, &invalid) {
		return invalid.Field
	}
	return ""
}
