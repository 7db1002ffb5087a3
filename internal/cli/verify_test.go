package cli

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/verify"
)

// judge runs the program itself.
func judge(t *testing.T, program, address string, args ...string) (status int, out, complaints string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), program, append([]string{"verify"}, args...)...)
	cmd.Env = append(cmd.Environ(), "VERIFY_DATABASE_URL="+address)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

func TestVerifyAnswersWithItsExitStatus(t *testing.T) {
	t.Parallel()
	db, program := testenv.Postgres(t), testenv.Binary(t)
	address := db.URL("runtime_readonly")
	db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme')`)
	db.Exec(`INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since) VALUES ('pcm-ofb', 'ofb', 'interaction', '00000000-0000-7000-8000-000000000000')`)
	wantReport(t, program, address, verify.Whole)
	db.Exec(`SELECT event_runtime.append_event('acme-bank', 'ofb', 'interaction.completed', '{}')`)
	wantReport(t, program, address, verify.Incomplete, "--grace", "1h")
	wantReport(t, program, address, verify.Broken, "--grace", "0")
	if status, out, complaints := judge(t, program, db.URL("runtime_producer"), "--json"); status != 3 || out != "" || !strings.Contains(complaints, "permission denied") {
		t.Errorf("a role that may not read: got status %d, %q, %q", status, out, complaints)
	}
}

// wantReport asks twice: for a program, and for a person.
func wantReport(t *testing.T, program, address string, want int, args ...string) {
	t.Helper()
	status, out, complaints := judge(t, program, address, append(args, "--json")...)
	var report verify.Report
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatalf("%q is not a report: %v (%s)", out, err, complaints)
	}
	if status != want || report.Exit != want || (want == verify.Broken) != (len(report.Broken) > 0) || (want == verify.Incomplete) != (report.Pending > 0) {
		t.Errorf("got status %d and %+v, want %d", status, report, want)
	}
	last := map[int]string{verify.Whole: "whole\n", verify.Broken: "broken\n", verify.Incomplete: "incomplete: events are still on their way\n"}[want]
	if status, out, _ := judge(t, program, address, args...); status != want || !strings.HasSuffix(out, last) || (want == verify.Broken) != strings.HasPrefix(out, "BROKEN owed: event ") {
		t.Errorf("for a person: got status %d and %s, want %d", status, out, want)
	}
}
