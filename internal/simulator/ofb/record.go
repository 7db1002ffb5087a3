package ofb

import (
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/google/uuid"
)

// record is one request as it is journaled and counted.
type record struct {
	number uint64
	at     time.Time
	org    uuid.UUID
	api    string
	http   int // planned answer; unplanned: what the items deserve; 0: none
	fault  string
	sum    [32]byte
	items  []entry
	others []entry // what the counterparty sends because of the items
}

const unplanned = -1

// entry is one copy of a report with its fate.
type entry struct {
	report

	id      uuid.UUID
	state   state // on arrival: accepted, discarded or notStored
	later   bool  // discarded when processed
	message string
	at      time.Time // of reception, for the counterparty's
}

// synchronous is the status of an answer with these receipts: 207 as soon as one
// item is discarded, and also when all are.
func synchronous(items []entry) int {
	for _, e := range items {
		if e.state == discarded {
			return http.StatusMultiStatus
		}
	}
	return http.StatusOK
}

// identities draws the report ids of one request. They depend on the seed and the
// request's number only, and numbers are never used twice, so that a seed gives the
// same ids in every run and no id again after a restart.
func (r *record) identities(seed uint64) {
	source := rand.New(rand.NewPCG(seed, r.number))
	for i := range r.items {
		r.items[i].id = randomID(source)
	}
	for i := range r.others {
		r.others[i].id = randomID(source)
	}
}

// randomID is a UUID of version 4.
func randomID(source *rand.Rand) uuid.UUID {
	var id uuid.UUID
	for i, word := 0, uint64(0); i < len(id); i++ {
		if i%8 == 0 {
			word = source.Uint64()
		}
		id[i] = byte(word >> (i % 8 * 8))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
