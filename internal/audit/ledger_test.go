package audit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"golang.org/x/sync/errgroup"
)

func add(ctx context.Context, pool *pgxpool.Pool, now time.Time, c Change) error {
	return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error { return Append(ctx, tx, now, c) })
}

func change(chain string, payload any) Change {
	return Change{Chain: chain, Actor: "uid-1", Action: "batch.requeued", Subject: "b-1", Payload: payload}
}

// rows reads every chain as verify does, and holds each row against the one
// before.
func rows(t *testing.T, pool *pgxpool.Pool) (all []Row) {
	t.Helper()
	found, err := pool.Query(t.Context(), `SELECT chain_id, seq, ts, actor, action, subject, payload_bytes, payload_sha256, prev_hash, hash FROM event_runtime.audit_ledger ORDER BY chain_id, seq`)
	if err != nil {
		t.Fatal(err)
	}
	all, err = pgx.CollectRows(found, func(row pgx.CollectableRow) (r Row, err error) {
		return r, row.Scan(&r.Chain, &r.Seq, &r.TS, &r.Actor, &r.Action, &r.Subject, &r.PayloadBytes, &r.PayloadSHA256, &r.PrevHash, &r.Hash)
	})
	if err != nil {
		t.Fatal(err)
	}
	var checker Checker
	for _, r := range all {
		if why := checker.Check(r); why != "" {
			t.Errorf("chain %s, row %d: %s", r.Chain, r.Seq, why)
		}
	}
	return all
}

// Many writers, clocks that disagree, and transactions that are rolled back: the
// chains stay gapless and in order.
func TestChainsHoldUnderConcurrency(t *testing.T) {
	t.Parallel()
	const writers, each = 6, 10
	pool, now := testenv.Postgres(t).Pool("runtime_worker"), time.Now()
	undone := errors.New("undone")
	var g errgroup.Group
	for w := range writers {
		g.Go(func() error {
			for n := range each {
				clock := now.Add(time.Duration(w-n) * time.Minute) // goes back, and is another for each
				if err := add(t.Context(), pool, clock, change([]string{"acme-bank", PlatformChain}[w%2], n)); err != nil {
					return err
				}
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					return errors.Join(Append(t.Context(), tx, clock, change("acme-bank", n)), undone)
				})
				if !errors.Is(err, undone) || strings.Contains(err.Error(), "append") {
					return err
				}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	if got := len(rows(t, pool)); got != writers*each {
		t.Errorf("got %d rows, want %d", got, writers*each)
	}
}

func TestPayloadIsCanonical(t *testing.T) {
	t.Parallel()
	pool := testenv.Postgres(t).Pool("runtime_worker")
	for name, tc := range map[string]struct {
		payload any
		want    string // nothing: refused
	}{
		"members are sorted":      {map[string]any{"b": 1, "a": "ç", "é": nil}, `{"a":"ç","b":1,"é":null}`},
		"numbers are shortest":    {map[string]any{"n": 100.0, "m": 1e21}, `{"m":1e+21,"n":100}`},
		"the last exact integer":  {map[string]any{"n": int64(1 << 53)}, `{"n":9007199254740992}`},
		"an integer that changes": {map[string]any{"n": int64(1<<53 + 1)}, ""},
		"and a negative one":      {[]any{int64(-1<<53 - 1)}, ""},
		"what is not JSON":        {map[string]any{"n": func() {}}, ""},
	} {
		err := add(t.Context(), pool, time.Now(), change("chain-"+strings.ReplaceAll(name, " ", "-"), tc.payload))
		if (err != nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), "audit payload of batch.requeued") {
			t.Errorf("%s: got %v, want refused: %v", name, err, tc.want == "")
		}
	}
	got := map[string]bool{}
	for _, r := range rows(t, pool) {
		got[string(r.PayloadBytes)] = true
	}
	for _, want := range []string{`{"a":"ç","b":1,"é":null}`, `{"m":1e+21,"n":100}`, `{"n":9007199254740992}`} {
		if !got[want] {
			t.Errorf("got %v, want %s among them", got, want)
		}
	}
}
