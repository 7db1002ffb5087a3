package evidence

import (
	"crypto/sha256"
	"errors"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// begin opens a transaction of the worker in a database with one batch of two
// items.
func begin(t *testing.T) (tx pgx.Tx, batch event.ID, items []event.ID) {
	t.Helper()
	db := testenv.Postgres(t)
	batch, items = event.NewID(time.Now()), []event.ID{event.NewID(time.Now()), event.NewID(time.Now())}
	db.Exec(`INSERT INTO event_runtime.export_batches (batch_id, tenant_id, ecosystem, api, organisation_id, state, reason, items, event_ids, item_hashes, merkle_root, body, body_bytes, body_sha256,
			deadline, oldest, sealed_at, changed_at)
		VALUES ($1, 'acme-bank', 'ofb', 'private', $1, 'sealed', 'age', 2, $2, sha256('') || sha256(''), sha256(''), '', 0, sha256(''), now(), now(), now(), now())`, batch, items)
	tx, err := db.Conn("runtime_worker").Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return tx, batch, items
}

func attempt(batch event.ID, a Answer) Attempt {
	return Attempt{BatchID: batch, Number: 1, Outcome: "receipts", Code: "receipts", PostedAt: time.Now(), EndedAt: time.Now(), Answer: a}
}

func TestAnAnswerIsKeptAsReceived(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer Answer
		none   bool
	}{
		"none came":     {Answer{}, true},
		"an empty one":  {Answer{Status: 502, Raw: []byte{}}, false},
		"not UTF-8":     {Answer{Status: 207, Raw: []byte("\xff\x00[")}, false},
		"a large one":   {Answer{Status: 207, Raw: make([]byte, 1<<20)}, false},
		"with its date": {Answer{Status: 207, Raw: []byte("[]"), ServerDate: time.Unix(1_700_000_000, 0)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tx, batch, _ := begin(t)
			if err := InsertAttempt(t.Context(), tx, attempt(batch, tc.answer)); err != nil {
				t.Fatal(err)
			}
			var raw, sum []byte
			var status, bytes *int
			var date *time.Time
			err := tx.QueryRow(t.Context(), `SELECT raw, raw_sha256, http_status, raw_bytes, server_date FROM event_runtime.submission_attempts`).Scan(&raw, &sum, &status, &bytes, &date)
			if err != nil {
				t.Fatal(err)
			}
			if tc.none {
				if raw != nil || sum != nil || status != nil || bytes != nil || date != nil {
					t.Fatalf("got %x, %x, %v, %v, %v, want nothing", raw, sum, status, bytes, date)
				}
				return
			}
			got, err := Expand(raw)
			want := sha256.Sum256(tc.answer.Raw)
			if err != nil || string(got) != string(tc.answer.Raw) || string(sum) != string(want[:]) || *bytes != len(tc.answer.Raw) || *status != tc.answer.Status {
				t.Fatalf("got %q (%v), hash %x, %d bytes, status %d", got, err, sum, *bytes, *status)
			}
			if (date == nil) != tc.answer.ServerDate.IsZero() || date != nil && !date.Equal(tc.answer.ServerDate) {
				t.Fatalf("got date %v, want %v", date, tc.answer.ServerDate)
			}
		})
	}
}

// Only a real receipt is evidence: the schema refuses the others, whoever writes.
func TestNoReceiptWithoutItsAnswer(t *testing.T) {
	t.Parallel()
	yes := Receipt{Status: "ACCEPTED", Accepted: true, ReportID: event.ID(uuid.New())}
	for name, tc := range map[string]struct {
		attempt bool
		change  func(o *Origin, s *Stored)
		code    string
	}{
		"a real one":                      {true, func(*Origin, *Stored) {}, ""},
		"a refusal without a report id":   {true, func(_ *Origin, s *Stored) { s.Receipt = Receipt{Status: "DISCARDED"} }, ""},
		"no attempt":                      {false, func(*Origin, *Stored) {}, "23503"},
		"another attempt":                 {true, func(o *Origin, _ *Stored) { o.Attempt = 2 }, "23503"},
		"another batch":                   {true, func(o *Origin, s *Stored) { o.BatchID = s.EventID }, "23503"},
		"a late one to an answer in time": {true, func(o *Origin, _ *Stored) { o.Late = true }, "23503"},
		"accepted without a report id":    {true, func(_ *Origin, s *Stored) { s.Receipt.ReportID = event.ID{} }, "23514"},
		"of an item before the first":     {true, func(_ *Origin, s *Stored) { s.Position = -1 }, "23514"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tx, batch, items := begin(t)
			if tc.attempt {
				if err := InsertAttempt(t.Context(), tx, attempt(batch, Answer{Status: 207, Raw: []byte("[]")})); err != nil {
					t.Fatal(err)
				}
			}
			origin := Origin{BatchID: batch, TenantID: "acme-bank", Attempt: 1, At: time.Now()}
			stored := Stored{Position: 1, EventID: items[1], Receipt: yes}
			tc.change(&origin, &stored)
			err := InsertReceipts(t.Context(), tx, origin, []Stored{stored})
			var pg *pgconn.PgError
			if got := errors.As(err, &pg); got != (tc.code != "") || got && pg.Code != tc.code {
				t.Fatalf("got %v, want %q", err, tc.code)
			}
		})
	}
}

// A round that is repeated after a crash keeps what it was told first.
func TestARepeatedInquiryKeepsTheFirstAnswer(t *testing.T) {
	t.Parallel()
	tx, batch, items := begin(t)
	for _, kind := range []string{"absent", "hit"} {
		err := InsertInquiry(t.Context(), tx, batch, 1, 1, Inquiry{EventID: items[0], AskedAt: time.Now(), Kind: kind, Answer: Answer{Status: 404, Raw: []byte(kind)}})
		if err != nil {
			t.Fatal(err)
		}
	}
	var kind string
	var raw []byte
	if err := tx.QueryRow(t.Context(), `SELECT answer, raw FROM event_runtime.submission_inquiries`).Scan(&kind, &raw); err != nil {
		t.Fatal(err)
	}
	if got, err := Expand(raw); kind != "absent" || err != nil || string(got) != "absent" {
		t.Errorf("got %s, %q, %v, want what was said first", kind, got, err)
	}
}
