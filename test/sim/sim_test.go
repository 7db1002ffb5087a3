// Package sim runs the pure core of event-runtime (classification, flush policy,
// outcome table, asking, books) against a broker, a store and a regulator that
// live in memory and fail in every way a seed can think of. The decisions are
// the code that runs in production; only what they act on is simulated.
package sim

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

var seeds = flag.Int("seeds", seedsFromEnv(), "how many seeds to run")

func seedsFromEnv() int {
	if n, err := strconv.Atoi(os.Getenv("SIM_SEEDS")); err == nil {
		return n
	}
	return 1000
}

// TestSeeds is a thousand small worlds. SIM_SEED=n repeats one of them, loudly.
func TestSeeds(t *testing.T) {
	t.Parallel()
	if one := os.Getenv("SIM_SEED"); one != "" {
		seed, err := strconv.ParseUint(one, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		w := newWorld(seed)
		w.log = func(format string, args ...any) { t.Logf("%v "+format, append([]any{w.now.Sub(epoch)}, args...)...) }
		check(t, w)
		return
	}
	start := rand.Uint64() >> 32
	var totals counts
	for i := range *seeds {
		w := newWorld(start + uint64(i))
		check(t, w)
		totals.add(w.counts)
		if t.Failed() {
			return
		}
	}
	t.Logf("seeds %d to %d: %+v", start, start+uint64(*seeds)-1, totals)
	for name, n := range totals.each() {
		if n == 0 && *seeds >= 1000 {
			t.Errorf("a thousand worlds, and never %s: the simulation does not reach it", name)
		}
	}
}

func check(t *testing.T, w *world) {
	t.Helper()
	w.run()
	for _, wrong := range w.verdict() {
		t.Errorf("SIM_SEED=%d: %s", w.seed, wrong)
	}
}

// counts are what happened in a world: a fault that never happens proves
// nothing.
type counts struct {
	Appended, Redelivered, Respelled, Forged, Poisoned, Ineligible, Batches, Posts, LostRequests, LostAnswers, GarbledAnswers, Refusals, Splits, Deaths, Unconfirmed, Absent, Mixed, Presumed, Duplicated, Conflicts, Reused int
}

func (c *counts) add(o counts) {
	c.Appended += o.Appended
	c.Redelivered += o.Redelivered
	c.Respelled += o.Respelled
	c.Forged += o.Forged
	c.Poisoned += o.Poisoned
	c.Ineligible += o.Ineligible
	c.Batches += o.Batches
	c.Posts += o.Posts
	c.LostRequests += o.LostRequests
	c.LostAnswers += o.LostAnswers
	c.GarbledAnswers += o.GarbledAnswers
	c.Refusals += o.Refusals
	c.Splits += o.Splits
	c.Deaths += o.Deaths
	c.Unconfirmed += o.Unconfirmed
	c.Absent += o.Absent
	c.Mixed += o.Mixed
	c.Presumed += o.Presumed
	c.Duplicated += o.Duplicated
	c.Conflicts += o.Conflicts
	c.Reused += o.Reused
}

func (c *counts) each() map[string]int {
	return map[string]int{"redelivered": c.Redelivered, "respelled": c.Respelled, "forged": c.Forged, "poisoned": c.Poisoned, "ineligible": c.Ineligible,
		"lost a request": c.LostRequests, "lost an answer": c.LostAnswers, "garbled an answer": c.GarbledAnswers, "refused": c.Refusals, "split": c.Splits,
		"died": c.Deaths, "in doubt": c.Unconfirmed, "proven absent": c.Absent, "mixed": c.Mixed, "presumed": c.Presumed, "duplicate": c.Duplicated, "conflict": c.Conflicts,
		"reused": c.Reused}
}

func (c counts) String() string { return fmt.Sprintf("%+v", c.each()) }
