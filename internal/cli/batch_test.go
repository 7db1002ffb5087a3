package cli

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
)

// at runs the program itself against a database.
func at(t *testing.T, address string, args ...string) (status int, out, complaints string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), testenv.Binary(t), args...)
	cmd.Env = append(cmd.Environ(), "DATABASE_URL="+address, "NATS_URL=nats://127.0.0.1:1")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()
}

const doubtful = `
INSERT INTO event_runtime.export_batches (batch_id, tenant_id, ecosystem, api, organisation_id, state, attempt, code, reason, items, event_ids, item_hashes, merkle_root, body, body_bytes, body_sha256,
       deadline, oldest, sealed_at, changed_at, posted_at, ask_at, needs_person)
SELECT gen_random_uuid(), 'acme-bank', 'ofb', api, gen_random_uuid(), 'submit_unconfirmed', 1, 'answer_lost', 'age', 1, array[gen_random_uuid()], sha256(''), sha256(''), '', 0, sha256(''),
       now(), now(), now(), now(), now(), CASE WHEN api = 'private' THEN now() END, api <> 'private' FROM unnest(array['private', 'opendata']) AS api`

func TestBatchListSaysWhatDoubtWaitsFor(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	address := db.URL("runtime_readonly")
	if status, out, complaints := at(t, address, "batch", "list"); status != 0 || out != "no batch is in doubt\n" {
		t.Errorf("got status %d, %q, %s, want no doubt", status, out, complaints)
	}
	db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ('acme-bank', 'Acme')`)
	db.Exec(doubtful)
	status, out, complaints := at(t, address, "batch", "list", "--json")
	var all []submit.Doubt
	if err := json.Unmarshal([]byte(out), &all); err != nil || status != 0 {
		t.Fatalf("got status %d, %q, %s", status, out, complaints)
	}
	if len(all) != 2 || all[0].API != "opendata" || all[0].WaitsFor != submit.TwoPersons || all[1].API != "private" || all[1].WaitsFor != submit.AnAnswer {
		t.Errorf("got %+v, want the one that waits for two persons first, and one that is asked about", all)
	}
	status, out, _ = at(t, address, "batch", "list")
	if lines := strings.Split(out, "\n"); status != 0 || len(lines) != 4 || !strings.HasSuffix(lines[1], "two_persons") || !strings.HasSuffix(lines[2], "answer") {
		t.Errorf("for a person: got status %d and\n%s", status, out)
	}
}

func TestReclassifyLooksAtOnce(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	status, out, complaints := at(t, db.URL("runtime_worker"), "reclassify")
	if want := "looked at 0 events that were set aside: 0 are reported now, 0 wait in quarantine, 0 are too old\n"; status != 0 || out != want {
		t.Errorf("got status %d, %q, %s, want %q", status, out, complaints, want)
	}
	var done bool
	if err := db.Pool("runtime_readonly").QueryRow(t.Context(), `SELECT done_at IS NOT NULL FROM event_runtime.reclassify_marks`).Scan(&done); err != nil || !done {
		t.Errorf("got %v, %v, want the round done", done, err)
	}
}
