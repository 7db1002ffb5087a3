package relay

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
)

// A group is what one atomic batch of JetStream carries: the server stores all of
// it or nothing, syncs once where it would sync for each message, and answers
// once. A message is in a group only the first time it is sent. Whatever is not
// stored goes again alone, where it is met by its id if it was stored after all;
// so nothing that can go wrong with groups can go wrong twice.
const (
	mostOfGroup = 1000 // a server takes no more, unless it is told to
	fullAtOnce  = 4    // full groups on their way; while one that is not full is, others wait for company
	groupMark   = "G"  // in the inbox: base 36 is written in small letters
)

// group is one on its way: messages of one stream, in their order.
type group struct {
	stream string
	seqs   []uint64
	sent   time.Time
}

// groups are those on their way, and the streams that take them.
type groups struct {
	more     chan struct{} // something may go
	answered chan struct{} // a stream has said whether it takes them

	mu     sync.Mutex
	most   int // guarded by mu, like all below
	next   uint64
	flying map[uint64]*group
	on     map[string]bool
}

func newGroups(cfg Config) *groups {
	g := &groups{more: make(chan struct{}, 1), answered: make(chan struct{}, len(streams)), most: max(cfg.Group, 1), flying: map[uint64]*group{}, on: map[string]bool{}}
	if cfg.CorePublish {
		g.most = 1
	}
	return g
}

// wanted reports whether a message to a subject shall go in a group.
func (g *groups) wanted(subject []byte) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most > 1 && g.on[transport.StreamOf(string(subject))]
}

func (g *groups) size() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.most
}

// may reports how many of n fresh messages may go now.
func (g *groups) may(n int) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.flying) == 0 || n >= g.most && len(g.flying) < fullAtOnce {
		return min(n, g.most)
	}
	return 0
}

// name gives the number of the next group.
func (g *groups) name() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.next++
	return g.next
}

func (g *groups) fly(number uint64, one *group) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.flying[number] = one
}

// land takes a group off the list; nil when it was given up.
func (g *groups) land(number uint64) *group {
	g.mu.Lock()
	defer g.mu.Unlock()
	one := g.flying[number]
	delete(g.flying, number)
	return one
}

// expire gives up what was sent before: the window knows its messages as late by
// now, and sends them again.
func (g *groups) expire(before time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for number, one := range g.flying {
		if one.sent.Before(before) {
			delete(g.flying, number)
		}
	}
}

// forget gives up all: their answers went with the connection.
func (g *groups) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.flying)
}

// takes notes whether a stream takes groups, and reports whether that is news.
func (g *groups) takes(stream string, on bool) (news bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	news = g.on[stream] != on
	g.on[stream] = on
	return news
}

// shrink makes groups smaller: the server takes fewer messages at once than ours
// have.
func (g *groups) shrink() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = max(g.most/2, 1)
}

// fate is what becomes of the messages of a group.
type fate int

const (
	eachFailed fate = iota // as if each had been refused
	allThere
	eachAgain // alone, at once
	noGroups  // the same, and so is everything behind them
	smaller   // the same, and the next groups are smaller
)

// Error codes with which nats-server refuses a batch for being one.
const (
	batchesDisabled  = 10174 // by the stream's configuration
	batchIncomplete  = 10176 // it lost a part, or was too slow
	batchTooLarge    = 10199
	batchHasKnownID  = 10201 // one of its messages is stored already
	batchesTooMany   = 10210 // on their way at once
	idInProcess      = 10158 // one of its messages is being stored
	batchIDInvalid   = 10179
	batchPlaceAbsent = 10175
)

// groupAnswer reads what came for a group of n messages. A PubAck that does not
// count them is of a server older than batches: it took each for itself.
func groupAnswer(status string, data []byte, n int) (answer, fate) {
	a := readAnswer(status, data)
	var ack struct {
		Count int `json:"count"`
		Error struct {
			Code int `json:"err_code"`
		} `json:"error"`
	}
	_ = json.Unmarshal(data, &ack) // what cannot be read, readAnswer has named
	switch {
	case a.verdict == stored && ack.Count == n:
		return a, allThere
	case a.verdict == stored, a.verdict == duplicate, ack.Error.Code == batchesDisabled:
		return a, noGroups
	case ack.Error.Code == batchTooLarge:
		return a, smaller
	case a.verdict == neverThere: // one of them: alone it will be told apart
		return a, eachAgain
	}
	switch ack.Error.Code {
	case batchIncomplete, batchHasKnownID, batchesTooMany, idInProcess, batchIDInvalid, batchPlaceAbsent:
		return a, eachAgain
	default:
		return a, eachFailed
	}
}
