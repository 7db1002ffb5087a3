// Package cdc knows how the slot stands that change data capture reads from, and
// what was lost with it.
//
// Promise: a slot that is missing, invalidated, made anew by somebody else or
//
//	carried over a promotion is noticed within a minute; the loss is a row from
//	then until the sweeper has come to its end, and after it an entry of the
//	ledger. Nothing here is needed for the events themselves: those are the
//	sweeper's, who asks for no slot.
//
// State:   cdc_slots (what was last known), cdc_losses (what was lost, and when).
// Failure: a look that fails is made again; what it would have changed is still
//
//	to be seen.
package cdc

// Known is what was last known of a slot.
type Known struct {
	SystemID string
	Timeline int32
	Reach    uint64 // our relay confirms nothing behind it without moving it first; 0: another relay, which tells us nothing
}

// Seen is how a slot stands now.
type Seen struct {
	SystemID string
	Timeline int32
	Standby  bool // no timeline of its own yet

	Exists       bool
	Ours         bool   // of plugin pgoutput, in this database
	Status       string // reserved, extended, unreserved, lost
	Invalidation string // why, where Postgres says it
	Synced       bool   // came from the primary, before a promotion
	Confirmed    uint64 // 0: it is still being made
	Active       bool
	SafeWAL      *int64 // bytes until it may be lost; nil: no limit, or too late
	Lag          int64  // bytes of log that it has yet to confirm
	Limit        int64  // max_slot_wal_keep_size in bytes; negative: none
}

// Dead reports a slot that can never be read again.
func (s Seen) Dead() bool { return s.Exists && (s.Status == "lost" || s.Invalidation != "") }

// State says what has become of a slot.
type State string

// States.
const (
	Alive       State = "alive"
	Making      State = "making"      // it will be there when the transactions of this moment have ended
	Waiting     State = "waiting"     // the server is a standby
	Absent      State = "absent"      // nobody has ever seen it: it is made with the schema
	Foreign     State = "foreign"     // it has our name and is somebody else's
	Missing     State = "missing"     // it was there
	Invalidated State = "invalidated" // Postgres has dropped log that it had yet to read
	Replaced    State = "replaced"    // another one has its name: what it never carried nobody knows
	Survived    State = "survived"    // it came over a promotion; what was committed last may not have
)

// Lost reports a state behind which events may be missing.
func (s State) Lost() bool {
	return s == Missing || s == Invalidated || s == Replaced || s == Survived
}

// Judge says what has become of a slot since it was known; nil is never. It reads
// no clock and holds no state.
func Judge(known *Known, now Seen) State {
	switch {
	case now.Standby:
		return Waiting
	case !now.Exists && known == nil:
		return Absent
	case !now.Exists:
		return Missing
	case !now.Ours:
		return Foreign
	case now.Dead():
		return Invalidated
	case now.Confirmed == 0:
		return Making
	case known == nil:
		return Alive
	case Promoted(known, now) && now.Synced && known.SystemID == now.SystemID:
		return Survived
	case Promoted(known, now):
		return Replaced // before 17 no slot comes over a promotion
	case known.Reach > 0 && now.Confirmed > known.Reach:
		return Replaced // further than our relay has ever been: a new slot begins at the end of the log
	default:
		return Alive
	}
}

// Promoted reports that the server's history is another one: a standby was
// promoted, a backup restored, a cluster upgraded.
func Promoted(known *Known, now Seen) bool {
	return known != nil && !now.Standby && (known.SystemID != now.SystemID || known.Timeline != now.Timeline)
}
