package routers

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/finnest/event-runtime/capture"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/rs/zerolog"
)

// rig is a recorder on a real outbox.
type rig struct {
	*capture.Recorder
	t  *testing.T
	db *testenv.DB
}

func newRig(t *testing.T) *rig {
	t.Helper()
	db := testenv.Postgres(t)
	rec, err := capture.New(db.Pool("runtime_producer"), capture.Config{TenantID: "acme-bank", Ecosystem: "ofb", Wait: time.Minute, Log: zerolog.New(io.Discard)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := rec.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	return &rig{rec, t, db}
}

// serve answers requests over loopback until the test ends.
func (r *rig) serve(h http.Handler) (url string) {
	s := httptest.NewServer(h)
	r.t.Cleanup(s.Close)
	return s.URL
}

func (r *rig) call(method, url string) (status int, body string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, url, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return res.StatusCode, string(text)
}

// In the order of commits: ids of one millisecond have none.
const sqlRecorded = `
SELECT concat_ws(' ', payload ->> 'httpMethod', payload ->> 'endpoint', payload ->> 'statusCode') FROM event_runtime.outbox ORDER BY recorded_at, event_id`

// recorded are the calls in the outbox: method, endpoint and status. A call is
// there before its answer has ended, so there is nothing to wait for.
func (r *rig) recorded() (calls []string) {
	r.t.Helper()
	rows, err := r.db.Conn(testenv.Superuser).Query(r.t.Context(), sqlRecorded)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var call string
		if err := rows.Scan(&call); err != nil {
			r.t.Fatal(err)
		}
		calls = append(calls, call)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return calls
}

// ask is a request and what becomes of it; record is "" where no row may be.
type ask struct {
	method, path string
	status       int
	record       string
}

func (r *rig) check(url string, asks map[string]ask) {
	r.t.Helper()
	seen := 0
	for name, a := range asks {
		if status, _ := r.call(a.method, url+a.path); status != a.status {
			r.t.Errorf("%s: got status %d, want %d", name, status, a.status)
		}
		calls, want := r.recorded()[seen:], []string{a.record}
		if a.record == "" {
			want = nil
		}
		if len(calls) != len(want) || len(want) == 1 && calls[0] != want[0] {
			r.t.Errorf("%s: got the records %q, want %q", name, calls, want)
		}
		seen += len(calls)
	}
}
