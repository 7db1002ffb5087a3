package ofb

// state is where one copy of a report stands.
//
//	accepted ──▶ unpaired ──▶ paired | inconsistent
//	   │  └────────────────────▲
//	   └──▶ discarded            (a semantic error found after the receipt)
//
// A report of open data has no other side: accepted ──▶ single.
//
// discarded and notStored are also where a copy begins and ends on arrival:
// notStored arrived here and never reached the platform, because a fault said so.
type state uint8

const (
	accepted state = iota
	unpaired
	inconsistent
	paired
	discarded
	notStored
	single // after the others: journals hold the numbers
	stateCount
)

var stateNames = [stateCount]string{"ACCEPTED", "UNPAIRED", "PAIRED_INCONSISTENT", "PAIRED", "DISCARDED", "NOT_STORED", "SINGLE"}

func (s state) String() string { return stateNames[s] }

// held reports whether the platform holds the copy as a report.
func (s state) held() bool { return s <= paired || s == single }
