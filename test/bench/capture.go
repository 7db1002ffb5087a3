package main

import (
	"context"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
)

var calls = regexp.MustCompile(`BenchmarkPostgres/64_callers(,_single)?-\d+\s.*?([\d.]+) calls/s`)

// capturePart runs the benchmark that the package has itself: it can take groups
// apart.
func capturePart(ctx context.Context, _ *bed, o options) error {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "BenchmarkPostgres/64_callers(,_single)?$", "-benchtime", "10000x", "-count", strconv.Itoa(o.rounds), "./capture")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	rates := map[string][]float64{}
	for _, found := range calls.FindAllStringSubmatch(string(out), -1) {
		rate, err := strconv.ParseFloat(found[2], 64)
		if err != nil {
			return err
		}
		rates[found[1]] = append(rates[found[1]], rate)
	}
	if len(rates) != 2 {
		return fmt.Errorf("no figures in what the benchmark says:\n%s", out)
	}
	for _, all := range rates {
		slices.Sort(all)
	}
	shared, single := rates[""], rates[",_single"]
	fmt.Printf("\ncapture: 64 callers, each waits for the commit of its call, %d rounds each\n  %-22s %12s\n  %-22s %12.0f\n  %-22s %12.0f\n  %-22s %11.2fx\n", o.rounds, "", "calls/s",
		"shared commits", shared[len(shared)/2], "a commit each", single[len(single)/2], "shared / each", shared[len(shared)/2]/single[len(single)/2])
	return nil
}
