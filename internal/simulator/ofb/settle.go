package ofb

import (
	"context"
	"math"
	"path/filepath"
	"time"
)

// left notes in memory that the answer is leaving, or that its last byte failed.
func (s *store) left(number uint64, whole bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q, ok := s.open[number]; ok {
		s.setAnswered(&s.requests[q], whole)
	}
}

// answered writes down what left said. The note may be lost with the process; then
// the ledger says what the next process can know.
func (s *store) answered(number uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noteAnswered(number)
	if s.journal == nil {
		return nil
	}
	return s.journal.answered(number)
}

func (s *store) noteAnswered(number uint64) {
	if q, ok := s.open[number]; ok {
		s.setAnswered(&s.requests[q], true)
		delete(s.open, number)
	}
}

func (s *store) setAnswered(r *request, whole bool) {
	switch {
	case whole && !r.answered:
		s.unanswered--
	case !whole && r.answered:
		s.unanswered++
	}
	r.answered = whole
}

// settle does everything that is due and says how long the next errand is away.
func (s *store) settle() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.settleLocked()
}

func (s *store) settleLocked() time.Duration {
	now := s.clock.now().UnixMilli()
	for {
		due, ok := s.queue.next()
		if !ok {
			return math.MaxInt64
		}
		if due > now {
			return time.Duration(due-now) * time.Millisecond
		}
		s.process(s.queue.pop().arrival, due)
	}
}

// nudge wakes Run; one waiting nudge is enough.
func (s *store) nudge() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// run pairs what is due, sleeping exactly until the next errand or until a nudge.
func (s *store) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		wait := s.settle()
		if s.clock.injected {
			timer.Stop()
		} else {
			timer.Reset(wait)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-s.wake:
		}
	}
}

// openJournal reads the journal and keeps it for writing. The returned function closes it;
// what was read stays readable.
func (s *store) openJournal(path string) (done func() error, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	done = func() error { return nil }
	j, err := openJournal(filepath.Clean(path), s.keepRaw, s.reload)
	if err != nil {
		return done, err
	}
	s.journal = j
	s.settleLocked()
	return func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		return j.close()
	}, nil
}
