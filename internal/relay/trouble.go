package relay

import (
	"errors"
	"time"

	"github.com/finnest/event-runtime/internal/fault"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/rs/zerolog"
)

// trouble is why there is no session, and for how many tries now.
type trouble struct {
	kind
	err   error
	times int
}

// kind is what is known about a way to fail.
type kind struct {
	code   string
	event  string
	level  zerolog.Level
	reason string // for readiness
	hint   string // what a person can do
	every  time.Duration
}

var (
	interrupted = kind{
		code: "interrupted", event: "relay.interrupted", level: zerolog.WarnLevel, reason: "no session with postgres",
		hint: "tried again by itself",
	}
	slotActive = kind{
		code: "slot_active", event: "relay.stood_by", level: zerolog.InfoLevel, reason: "another relay holds the slot",
		hint: "one relay works and the others wait", every: time.Second,
	}
	slotMissing = kind{
		code: "slot_missing", event: "relay.blocked", level: zerolog.ErrorLevel, reason: "the slot does not exist",
		hint: "run `event-runtime migrate`, which makes the slot; rows written without one are swept", every: 2 * time.Second,
	}
	slotLost = kind{
		code: "slot_lost", event: "relay.blocked", level: zerolog.ErrorLevel, reason: "postgres has dropped what the slot had yet to read",
		hint: "drop the slot and run `event-runtime migrate`; the rows in between are swept", every: 2 * time.Second,
	}
	slotUnusable = kind{
		code: "slot_unusable", event: "relay.blocked", level: zerolog.ErrorLevel, reason: "postgres does not stream from the slot",
		hint: "the error says why: wal_level must be logical, and the server a primary; drop nothing", every: 2 * time.Second,
	}
	accessRefused = kind{
		code: "access_refused", event: "relay.blocked", level: zerolog.ErrorLevel, reason: "postgres does not let the relay in",
		hint: "check RELAY_DATABASE_URL, and that pg_hba.conf lets its role in for replication too", every: 2 * time.Second,
	}
	publicationUnfit = kind{
		code: "publication_unfit", event: "relay.blocked", level: zerolog.ErrorLevel, reason: "the publication does not carry the tables of the sink",
		hint: "the migrations make it: publish = 'insert', publish_via_partition_root = true", every: 2 * time.Second,
	}
)

// lostKnown is a slot that was there: the next try makes another.
func lostKnown(code, reason string) kind {
	return kind{
		code: code, event: "slot.lost", level: zerolog.ErrorLevel, reason: reason,
		hint: "it is made anew, and the sweeper publishes what was lost; nothing to do unless this stays",
	}
}

// SQLSTATEs of connecting and of START_REPLICATION. That a slot is lost, the look
// at it tells before: 55000 is more than that.
var bySQLState = map[string]kind{
	"55006": slotActive,
	"42704": slotMissing,
	"55000": slotUnusable,
	"28000": accessRefused, // no line in pg_hba.conf, or no such role
	"28P01": accessRefused, // password
	"3D000": accessRefused, // no such database
}

var byCode = map[string]kind{
	slotMissing.code: slotMissing, slotLost.code: slotLost, publicationUnfit.code: publicationUnfit,
}

func kindOf(err error) kind {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		if k, ok := bySQLState[pg.Code]; ok {
			return k
		}
	}
	var lost *lostSlot
	if errors.As(err, &lost) {
		return lost.kind()
	}
	if k, ok := byCode[fault.From(err).Code]; ok {
		return k
	}
	return interrupted
}

// steady is how long a session lasts that was no mere try.
const steady = 5 * time.Second

// after gives the trouble that err is, behind t.
func (t trouble) after(err error, lasted time.Duration) trouble {
	next := trouble{kind: kindOf(err), err: err, times: 1}
	if next.code == t.code && lasted < steady {
		next.times = t.times + 1
	}
	return next
}

// wait is how long to wait before the next try: what needs somebody else is
// looked at regularly, everything else less and less often. random is in [0, 1).
func (t trouble) wait(random float64) time.Duration {
	const shortest, longest = 100 * time.Millisecond, 10 * time.Second
	d := t.every
	if d == 0 {
		d = min(shortest<<min(t.times-1, 10), longest)
	}
	return time.Duration((0.75 + 0.5*random) * float64(d))
}
