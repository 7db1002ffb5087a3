package ofb

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
)

// faults are the standing orders to fail, oldest first.
type faults struct {
	seed uint64

	mu   sync.Mutex
	last int
	list []*order
}

type order struct {
	Fault

	odds *rand.Rand
}

// maxSpent is how many spent orders stay listed, so that a test can read their hits.
const maxSpent = 1000

func (s *faults) add(f Fault) (string, error) {
	if err := f.validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	f.ID, f.Seen, f.Hits, f.Spent = fmt.Sprintf("f%d", s.last), 0, 0, false
	// Odds of its own: what one fault draws does not depend on which others exist.
	s.list = append(s.list, &order{Fault: f, odds: rand.New(rand.NewPCG(s.seed, uint64(s.last)))})
	s.forgetSpent()
	return f.ID, nil
}

func (s *faults) forgetSpent() {
	spent := 0
	for _, o := range s.list {
		if o.Spent {
			spent++
		}
	}
	s.list = slices.DeleteFunc(s.list, func(o *order) bool {
		if o.Spent && spent > maxSpent {
			spent--
			return true
		}
		return false
	})
}

// match gives the exchange to the oldest fault that wants it; nil where none does.
// api is of a report only.
func (s *faults) match(operation, api string, org uuid.UUID) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.list {
		if o.Spent || o.Operation != operation || o.API != "" && o.API != api || o.Organisation != "" && !strings.EqualFold(o.Organisation, org.String()) {
			continue
		}
		if o.hit() {
			met := o.Fault
			return &met
		}
	}
	return nil
}

// hit counts one exchange and decides it.
func (o *order) hit() bool {
	o.Seen++
	if o.Seen <= int64(o.Skip) {
		return false
	}
	if o.Probability > 0 && o.odds.Float64() >= o.Probability {
		return false
	}
	o.Hits++
	o.Spent = o.Times > 0 && o.Hits >= int64(o.Times)
	return true
}

func (s *faults) all() []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]Fault, 0, len(s.list))
	for _, o := range s.list {
		list = append(list, o.Fault)
	}
	return list
}

// remove deletes one order, or all for the id "".
func (s *faults) remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.list)
	s.list = slices.DeleteFunc(s.list, func(o *order) bool { return id == "" || o.ID == id })
	return id == "" || len(s.list) < before
}
