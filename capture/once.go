package capture

import "sync"

// once says yes the first time it hears a thing, so that a fault which repeats
// with every call is told once. What it remembers is bounded: things may come
// from outside.
type once struct {
	mu    sync.Mutex
	heard map[string]bool // guarded by mu
}

const mostHeard = 1000

func (o *once) first(thing string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.heard[thing] || len(o.heard) >= mostHeard {
		return false
	}
	if o.heard == nil {
		o.heard = map[string]bool{}
	}
	o.heard[thing] = true
	return true
}
