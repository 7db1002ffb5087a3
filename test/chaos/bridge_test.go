package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/bridge"
)

// A courier does what Sequin's webhook sink does: it posts rows of the outbox in
// batches, and posts a batch again until it is answered with 2xx.
type courier struct {
	mu         sync.Mutex
	delivered  []string // ids, guarded by mu, like all below
	batches    int
	duplicates int
}

const bridgeToken = "token-of-the-courier-0123456789-0123456789"

func bridgeEnv() []string {
	return []string{"BRIDGE_TOKEN_REFS=env:COURIER_TOKEN", "COURIER_TOKEN=" + bridgeToken}
}

// Each row as Sequin would send it, but for what nobody relies upon.
const sqlElements = `
SELECT event_id::text, jsonb_build_object('record', to_jsonb(o), 'changes', NULL, 'action', 'insert',
         'metadata', jsonb_build_object('table_schema', 'event_runtime', 'table_name', 'outbox'))::text
  FROM event_runtime.outbox o WHERE event_id <> ALL ($1::uuid[]) ORDER BY event_id LIMIT 50`

const sqlIDs = `
SELECT coalesce(array_agg(event_id::text), '{}') FROM event_runtime.outbox`

// carry starts a courier for what is appended from now on. It follows the worker
// that was started last, and ends with the test.
func (r *rig) carry() {
	r.t.Helper()
	r.courier = &courier{}
	r.scan(sqlIDs, nil, &r.courier.delivered)
	ctx, stop := context.WithCancel(noCancel(r.t))
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(50 * time.Millisecond)
		defer again.Stop()
		for ctx.Err() == nil {
			_ = r.deliver(ctx) // whatever went wrong: again, as Sequin does
			select {
			case <-ctx.Done():
			case <-again.C:
			}
		}
	}()
	r.t.Cleanup(func() { stop(); <-done })
}

// deliver posts one batch.
func (r *rig) deliver(ctx context.Context) error {
	ids, body, err := r.nextBatch(ctx)
	if err != nil || len(ids) == 0 {
		return err
	}
	at := r.workerAddr()
	if at == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+at+bridge.Route, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+bridgeToken)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	var said struct{ Rows, Duplicates int }
	if err := json.NewDecoder(res.Body).Decode(&said); err != nil || res.StatusCode != http.StatusOK || said.Rows != len(ids) {
		return fmt.Errorf("status %d for %d of %d rows: %w", res.StatusCode, said.Rows, len(ids), err)
	}
	r.courier.mu.Lock()
	defer r.courier.mu.Unlock()
	r.courier.delivered = append(r.courier.delivered, ids...)
	r.courier.batches++
	r.courier.duplicates += said.Duplicates
	return nil
}

func (r *rig) nextBatch(ctx context.Context) (ids []string, body []byte, err error) {
	r.courier.mu.Lock()
	known := slices.Clone(r.courier.delivered)
	r.courier.mu.Unlock()
	rows, err := r.pool.Query(ctx, sqlElements, known)
	if err != nil {
		return nil, nil, err
	}
	defer rows.Close()
	var elements []string
	for rows.Next() {
		var id, element string
		if err := rows.Scan(&id, &element); err != nil {
			return nil, nil, err
		}
		ids, elements = append(ids, id), append(elements, element)
	}
	return ids, []byte(`{"data":[` + strings.Join(elements, ",") + `]}`), rows.Err()
}

// workerAddr is where the process that was started last listens; empty before
// it does.
func (r *rig) workerAddr() (addr string) {
	r.mu.Lock()
	procs := slices.Clone(r.procs)
	r.mu.Unlock()
	if len(procs) == 0 {
		return ""
	}
	last := procs[len(procs)-1]
	for line := range strings.Lines(last.Log()) {
		var said struct{ Event, Addr string }
		if json.Unmarshal([]byte(line), &said) == nil && said.Event == "http.listening" {
			addr = said.Addr
		}
	}
	return addr
}

// wantUnanswered: the batch is in the streams, and the courier does not know it.
func (r *rig) wantUnanswered() {
	r.t.Helper()
	if n := r.inStreams(); n == 0 {
		r.t.Errorf("got nothing in the streams, want what was posted last")
	}
	r.courier.mu.Lock()
	defer r.courier.mu.Unlock()
	if r.courier.batches != 0 {
		r.t.Errorf("got an answer to %d batches, want none", r.courier.batches)
	}
}

// wantMet: the batch without an answer was posted again, and known by its ids.
func (r *rig) wantMet() {
	r.t.Helper()
	r.courier.mu.Lock()
	defer r.courier.mu.Unlock()
	if r.courier.batches == 0 || r.courier.duplicates == 0 {
		r.t.Errorf("got %d batches delivered with %d duplicates, want the unanswered one again", r.courier.batches, r.courier.duplicates)
	}
}
