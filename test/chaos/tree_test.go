package chaos

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/local"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/up"
)

// Everything that `up` runs is killed under load: the supervisor, Postgres, NATS,
// the regulator, the relay, the worker and the banks. Started again on the same
// directory it goes on, and in the end nothing is lost, doubled or in doubt. Most
// of the time it waits for messages that the dead worker had in its hand.
func TestWholeTree(t *testing.T) {
	t.Parallel()
	ports := freePorts(t)
	dir := t.TempDir()
	args := []string{"up", "--demo", "--rate", "40", "--data-dir", dir, "--port-base", strconv.Itoa(ports)}
	kills := 1
	if os.Getenv("CHAOS_ALL") != "" {
		kills = 4
	}
	var before simulator.Totals
	for range kills {
		machine := testenv.Start(t, testenv.Binary(t), args, nil)
		before = awaitStored(t, machine, ports, before.Stored+150)
		killTree(t, machine)
	}
	last := testenv.Start(t, testenv.Binary(t), append(args, "--for", "4s", "--json"), nil)
	select {
	case <-last.Done():
	case <-time.After(endWithin):
		t.Fatalf("it did not drain and end within %v", endWithin)
	}
	last.ExitedWith(0)
	wantWell(t, last.Line(`"verify_exit"`), before, remembered(t, dir, ports))
}

// endWithin is more than a drain may take.
const endWithin = 5 * time.Minute

// wantWell reads the summary of the last run beside what the regulator itself
// held, before the last kill and at the end.
func wantWell(t *testing.T, line string, before, after simulator.Totals) {
	t.Helper()
	var result up.Result
	if err := json.Unmarshal([]byte(line), &result); err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if result.RegulatorDuplicates != 0 || !result.BooksBalanced || result.VerifyExit != 0 || result.Unconfirmed.Askable != 0 || result.Unconfirmed.NeedsPerson != 0 || result.CapturedLost != 0 {
		t.Errorf("got %s", line)
	}
	if after.Duplicates != 0 || after.Stored < before.Stored {
		t.Errorf("the regulator held %+v, and at the end %+v", before, after)
	}
	// Each accepted event has one report, and waits or has a receipt of one: those
	// of the bank with fixed hours were made due by the drain.
	if after.Stored != result.Accepted {
		t.Errorf("%d events were accepted, and the regulator holds %d reports", result.Accepted, after.Stored)
	}
}

// remembered is what the regulator held at last: it is started once more, alone.
func remembered(t *testing.T, dir string, ports int) simulator.Totals {
	t.Helper()
	regulator := testenv.Start(t, testenv.Binary(t), []string{"simulate", "ofb", "--data-dir", filepath.Join(dir, "regulator"),
		"--auth-addr", "127.0.0.1:0", "--api-addr", "127.0.0.1:0", "--control-addr", addressOf(ports + ledgerPort)}, nil)
	var totals simulator.Totals
	await(t, regulator, "it tells what it holds", func() (err error) { totals, err = ledgerAt(t, ports); return err })
	return totals
}

// freePorts finds eight in a row.
func freePorts(t *testing.T) int {
	t.Helper()
	const wanted = 8
	for range 50 {
		base, err := local.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(make([]int, wanted), func(int) bool { base++; return !free(base - 1) }) {
			return base - wanted
		}
	}
	t.Fatal("no eight free ports in a row")
	return 0
}

func free(port int) bool {
	l, err := net.Listen("tcp", addressOf(port))
	return err == nil && l.Close() == nil
}

// ledgerPort is where the regulator of `up` tells what it holds, from the first
// port on.
const ledgerPort = 5

func addressOf(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func ledgerAt(t *testing.T, ports int) (simulator.Totals, error) {
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+addressOf(ports+ledgerPort)+"/_ledger", nil)
	if err != nil {
		return simulator.Totals{}, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return simulator.Totals{}, err
	}
	defer func() { _ = res.Body.Close() }()
	var ledger simulator.Ledger
	err = json.NewDecoder(res.Body).Decode(&ledger)
	return ledger.Totals, err
}

// awaitStored waits until everything runs and the regulator holds so many
// reports.
func awaitStored(t *testing.T, machine *testenv.Process, ports int, want int64) (totals simulator.Totals) {
	t.Helper()
	machine.Line("everything is running")
	await(t, machine, "the regulator holds enough", func() (err error) {
		if totals, err = ledgerAt(t, ports); err == nil && totals.Stored < want {
			err = fmt.Errorf("%d of %d reports", totals.Stored, want)
		}
		return err
	})
	return totals
}

// await asks a process's work again and again until there is no error.
func await(t *testing.T, p *testenv.Process, what string, is func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(2 * time.Minute)
	defer late.Stop()
	for err := is(); err != nil; err = is() {
		select {
		case <-tick.C:
		case <-p.Done():
			t.Fatalf("%s: it ended", what)
		case <-late.C:
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// parts are what must be in the tree, by their command lines.
var parts = []string{" up --demo", " nats --dir", " simulate ofb", " serve", " relay", " simulate bank", "postgres -D", "postgres: checkpointer"}

// killTree stops the whole tree in its tracks, so that nobody reacts to another's
// death, and kills it.
func killTree(t *testing.T, machine *testenv.Process) {
	t.Helper()
	machine.Signal(syscall.SIGSTOP)
	tree := map[int]string{machine.PID(): ""}
	for grown := true; grown; { // what was not stopped yet may have forked
		grown = false
		for pid, p := range processes(t) {
			if _, ours := tree[p.parent]; pid != machine.PID() && (!ours || tree[pid] != "") {
				continue
			}
			grown = grown || tree[pid] == ""
			tree[pid] = p.command
			_ = syscall.Kill(pid, syscall.SIGSTOP)
		}
	}
	all := ""
	for pid, command := range tree {
		all += command + "\n"
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	machine.ExitedWith(128 + int(syscall.SIGKILL))
	for _, part := range parts {
		if !strings.Contains(all, part) {
			t.Errorf("%q is not in the tree that was killed:\n%s", part, all)
		}
	}
}

type process struct {
	parent  int
	command string
}

// processes lists all there are, by their ids.
func processes(t *testing.T) map[int]process {
	t.Helper()
	text, err := exec.Command("ps", "-A", "-o", "pid=,ppid=,args=").Output()
	if err != nil {
		t.Fatalf("list processes: %v", err)
	}
	all := map[int]process{}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) < 3 {
			continue
		}
		pid, _ := strconv.Atoi(fields[0])
		parent, _ := strconv.Atoi(fields[1])
		all[pid] = process{parent, strings.Join(fields[2:], " ")}
	}
	return all
}
