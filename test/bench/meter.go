package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/finnest/event-runtime/internal/local"
)

// A sample is what one contender took for n events.
type sample struct {
	n       int
	took    time.Duration
	cpu     time.Duration // of the contender's own process
	peakKiB int64
}

func (r sample) rate() float64    { return float64(r.n) / r.took.Seconds() }
func (r sample) cpu100k() float64 { return r.cpu.Seconds() * 100_000 / float64(r.n) }
func (r sample) peakMiB() float64 { return float64(r.peakKiB) / 1024 }

func median(runs []sample, of func(sample) float64) float64 {
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	return values[len(values)/2]
}

// compare prints two contenders and what the first is of the second.
func compare(part string, names [2]string, runs [2][]sample) {
	fmt.Printf("\n%s, %d events, %d rounds each\n  %-22s %12s %14s %10s\n", part, runs[0][0].n, len(runs[0]), "", "events/s", "CPU-s/100k", "peak MiB")
	for i, name := range names {
		fmt.Printf("  %-22s %12.0f %14.2f %10.1f\n", name, median(runs[i], sample.rate), median(runs[i], sample.cpu100k), median(runs[i], sample.peakMiB))
	}
	ratio := func(of func(sample) float64) float64 { return median(runs[0], of) / median(runs[1], of) }
	fmt.Printf("  %-22s %11.2fx %13.2fx %9.2fx\n", names[0]+" / "+names[1], ratio(sample.rate), ratio(sample.cpu100k), ratio(sample.peakMiB))
}

// alternate runs both contenders in turns, so that what else the machine does
// meets them alike.
func alternate(rounds int, contenders [2]func() (sample, error)) (runs [2][]sample, err error) {
	for round := range rounds {
		for k := range contenders {
			i := (k + round) % 2
			r, err := contenders[i]()
			if err != nil {
				return runs, err
			}
			runs[i] = append(runs[i], r)
		}
	}
	return runs, nil
}

// A program is one process under measurement.
type program struct {
	cmd   *exec.Cmd
	began time.Time
	log   string
}

func (b *bed) start(name, binary string, env []string, args ...string) (*program, error) {
	b.started++
	log := filepath.Join(b.dir, fmt.Sprintf("%s-%d.log", name, b.started))
	file, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	cmd := exec.Command(binary, args...) //nolint:noctx // it is ended by stop
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdout, cmd.Stderr = file, file
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	p := &program{cmd: cmd, began: time.Now(), log: log}
	return p, cmd.Start()
}

// cpu is what the live process has used so far.
func (p *program) cpu() time.Duration { return treeCPU(p.cmd.Process.Pid) }

// finish says what the process used since its start; it is still running, for
// what it does at its end is not part of the work.
func (p *program) finish(n int) sample {
	return sample{n: n, took: time.Since(p.began), cpu: p.cpu(), peakKiB: peakRSS(p.cmd.Process.Pid)}
}

// stop ends the process in order, and by force when that takes too long.
func (p *program) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	late := time.AfterFunc(time.Minute, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	if err := p.cmd.Wait(); err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) && !exit.Exited() {
			return nil // by our signal
		}
		text, _ := os.ReadFile(p.log)
		return fmt.Errorf("%s: %w\n%s", filepath.Base(p.log), err, text[max(0, len(text)-2000):])
	}
	return nil
}

// await polls until done; what is polled costs little, and is polled for both
// contenders alike.
func await(ctx context.Context, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		switch ok, err := done(); {
		case err != nil:
			return fmt.Errorf("%s: %w", what, err)
		case ok:
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", what, ctx.Err())
		}
	}
}

// tickHz is the kernel's unit of processor time in /proc; it is 100 wherever Go runs.
const tickHz = 100

// treeCPU is the processor time of a process and of all below it, ended ones
// included.
func treeCPU(pid int) time.Duration {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	var ticks int64
	for _, field := range fields[11:15] { // utime stime cutime cstime
		n, _ := strconv.ParseInt(field, 10, 64)
		ticks += n
	}
	total := time.Duration(ticks) * time.Second / tickHz
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for child := range strings.FieldsSeq(string(children)) {
		n, _ := strconv.Atoi(child)
		total += treeCPU(n)
	}
	return total
}

// peakRSS is the most memory a live process has held so far, in KiB.
func peakRSS(pid int) int64 {
	file, err := os.Open(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), "VmHWM:"); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 64)
			return n
		}
	}
	return 0
}

// describe prints what the numbers depend on.
func describe(ctx context.Context) error {
	version, err := local.PostgresVersion(ctx)
	if err != nil {
		return err
	}
	load, _ := os.ReadFile("/proc/loadavg")
	fmt.Printf("%s %s/%s, %d processors, load before: %.14s\n%s: fsync on, synchronous_commit on\nJetStream: one server, R1, files, sync interval 2m (its default: a PubAck does not wait for the disk)\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load, version)
	return nil
}
