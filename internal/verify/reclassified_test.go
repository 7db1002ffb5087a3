package verify

import (
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
)

// grown is a world in which the event that was not reportable has become so, and
// an unconfirmed batch waits for persons.
func grown(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	err := pgx.BeginFunc(t.Context(), w.db.Conn(testenv.Superuser), func(tx pgx.Tx) error {
		w.tx = tx
		w.exec(`INSERT INTO event_runtime.reclassifications (tenant_id, recorded_on, event_id, consumer, was, outcome, edition, api, reclassified_at)
			VALUES ($1, event_runtime.event_day($2), $2, $3, 'ineligible:unlisted_endpoint', 'accepted', sha256('x'), 'opendata', now())`, bank, w.id["ineligible"], consumer)
		w.exec(`UPDATE event_runtime.books SET accepted = accepted + 1, ineligible = ineligible - 1 WHERE tenant_id = $1`, bank)
		w.exec(`UPDATE event_runtime.export_batches SET ask_at = NULL, needs_person = true WHERE batch_id = $1`, w.id["unconfirmed"])
		return submit.AddChunks(t.Context(), tx, w.at, []submit.Arrival{{Tenant: bank, Ecosystem: event.OFB, EventID: w.id["ineligible"],
			Report: submit.Report{API: "opendata", Submitter: organisation, Party: organisation, Deadline: w.at, Bytes: 100}}})
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestWhatWasClassifiedAgainIsWhole(t *testing.T) {
	t.Parallel()
	w := grown(t)
	r, err := Run(t.Context(), w.db.Pool("runtime_readonly"), Options{Split: splitters})
	if err != nil || r.Exit != Whole || r.Counted["reclassified"] != 1 || r.Persons != 1 {
		t.Fatalf("got %+v, %v, want whole with one reclassification and one batch for two persons", r, err)
	}
}

func TestHarmToWhatWasClassifiedAgainIsNamed(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]struct{ sql, want string }{
		"its chunk is gone":     {`DELETE FROM event_runtime.lane_chunks WHERE api = 'opendata'`, "placed: event {ineligible}"},
		"it is gone":            {`DELETE FROM event_runtime.reclassifications`, "orphan: event {ineligible}"},
		"it was something else": {`UPDATE event_runtime.reclassifications SET was = 'ineligible:api_not_enabled'`, "reclassified: event {ineligible}"},
		"it is another's":       {`UPDATE event_runtime.reclassifications SET tenant_id = 'other'`, "reclassified: event {ineligible} of tenant other"},
		"it was not counted":    {`UPDATE event_runtime.books SET accepted = accepted - 1, ineligible = ineligible + 1 WHERE tenant_id = 'acme-bank'`, "counted: "},
		"its key is another's": {`UPDATE event_runtime.reclassifications r SET interaction_id = k.interaction_id, role = k.role, organisation_id = k.organisation_id
			FROM event_runtime.consumer_idempotency k WHERE k.event_id = @first`, "report_key: "},
		"a batch in doubt is forgotten": {`UPDATE event_runtime.export_batches SET needs_person = false WHERE needs_person`, "doubt: batch {unconfirmed}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := grown(t)
			super := w.db.Conn(testenv.Superuser)
			for _, sql := range []string{`ALTER TABLE event_runtime.reclassifications DISABLE TRIGGER ALL`, h.sql} {
				if _, err := super.Exec(t.Context(), sql, pgx.NamedArgs{"first": w.id["first"]}); err != nil {
					t.Fatal(err)
				}
			}
			r, err := Run(t.Context(), w.db.Pool("runtime_readonly"), Options{Split: splitters})
			if err != nil {
				t.Fatal(err)
			}
			want := h.want
			for _, id := range []string{"ineligible", "unconfirmed"} {
				want = strings.ReplaceAll(want, "{"+id+"}", w.id[id].String())
			}
			for _, f := range r.Broken {
				if r.Exit == Broken && strings.HasPrefix(f.String(), want) {
					return
				}
			}
			t.Errorf("got exit %d, %v, want %q", r.Exit, r.Broken, want)
		})
	}
}
