package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/finnest/event-runtime/internal/sweep"
	"github.com/finnest/event-runtime/migrations"
	"github.com/jackc/pgx/v5"
	"github.com/rs/zerolog"
)

// perSecond is 50 million events a day.
const perSecond = 579

// A slice of an outbox as it is after hours at that rate: ids in the order of
// time, twenty tenants, one event in twenty semantic, and a row at the consumer
// for each: what is published would wait in the streams, and end the next pass.
const sqlFillOutbox = `
WITH made AS (
  SELECT n, $1::timestamptz + make_interval(secs => n / $4::float8) AS at FROM generate_series($2::bigint, $3::bigint - 1) AS n),
named AS (
  SELECT n, at, (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(replace(gen_random_uuid()::text, '-', ''), 14))::uuid AS id FROM made)
INSERT INTO event_runtime.outbox (tenant_id, recorded_on, event_id, ecosystem, event_type, version, occurred_at, recorded_at, source, payload)
SELECT 'bench-' || n % 20, event_runtime.event_day(id), id, 'ofb', CASE WHEN n % 20 = 0 THEN 'consent.advanced' ELSE 'interaction.completed' END, 1, at, at, 'bench',
       '{"endpoint": "/open-banking/accounts/v2/accounts", "httpMethod": "GET", "statusCode": 200}'
  FROM named`

const sqlFillRows = `
INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash)
SELECT tenant_id, recorded_on, event_id, 'pcm-ofb', 'accepted', sha256('x') FROM event_runtime.outbox`

const sqlMarks = `
INSERT INTO event_runtime.sweep_marks (consumer, stream, swept_until) SELECT DISTINCT consumer, s, $1::timestamptz
  FROM event_runtime.entitlements, unnest(array['INTERACTIONS', 'EVENTS']) AS s ON CONFLICT (consumer, stream) DO UPDATE SET swept_until = excluded.swept_until`

// sweepPart says what one pass of the sweeper costs on a large outbox.
func sweepPart(ctx context.Context, b *bed, o options) error {
	end := time.Now().UTC().Truncate(time.Second)
	begin := end.Add(-time.Duration(o.swept) * time.Second / perSecond)
	if err := b.fillOutbox(ctx, begin, o.swept); err != nil {
		return err
	}
	fmt.Printf("\nsweep: an outbox of %d rows, made at %d a second\n  %-34s %10s %10s %10s\n", o.swept, perSecond, "", "rows", "seconds", "CPU-s")
	for _, w := range []struct {
		name string
		span time.Duration
	}{{"a minute of a usual day", time.Minute}, {"20 minutes (or a minute at peak)", 20 * time.Minute}} {
		if err := b.exec(ctx, sqlMarks, end.Add(-w.span)); err != nil {
			return err
		}
		took, cpu, err := b.pass(ctx, end)
		if err != nil {
			return err
		}
		fmt.Printf("  %-34s %10.0f %10.2f %10.2f\n", w.name, w.span.Seconds()*perSecond, took.Seconds(), cpu.Seconds())
	}
	return nil
}

// pass is one pass at a moment: the cost of Postgres, and of us.
func (b *bed) pass(ctx context.Context, end time.Time) (took, cpu time.Duration, err error) {
	const grace = time.Minute
	s, err := sweep.New(sweep.Config{Interval: time.Minute, Grace: grace, Again: 10 * time.Minute, Whole: time.Hour}, sweep.Deps{
		Pool: b.pool, JS: b.js, Slot: migrations.Slot, Now: func() time.Time { return end.Add(grace) }, Log: zerolog.Nop(),
		Actor: "bench", Hold: func(context.Context, pgx.Tx) error { return nil }})
	if err != nil {
		return 0, 0, err
	}
	began, used := time.Now(), treeCPU(b.postgres.PID())+treeCPU(os.Getpid())
	if err := s.Pass(ctx); err != nil {
		return 0, 0, err
	}
	return time.Since(began), treeCPU(b.postgres.PID()) + treeCPU(os.Getpid()) - used, nil
}

func (b *bed) fillOutbox(ctx context.Context, begin time.Time, rows int) error {
	const step = 500_000
	for day := begin; !day.After(begin.Add(time.Duration(rows) * time.Second / perSecond)); day = day.Add(24 * time.Hour) {
		if err := b.exec(ctx, `SELECT event_runtime.ensure_days($1::date, $1::date)`, day); err != nil {
			return err
		}
	}
	for n := 0; n < rows; n += step {
		upTo := min(n+step, rows)
		if err := b.exec(ctx, sqlFillOutbox, begin, n, upTo, float64(perSecond)); err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "\rfilling: %d of %d rows", upTo, rows)
	}
	fmt.Fprintln(os.Stderr)
	fmt.Fprintln(os.Stderr, "filling: the rows of the consumer")
	if err := b.exec(ctx, sqlFillRows); err != nil {
		return err
	}
	if err := b.exec(ctx, `UPDATE event_runtime.entitlements SET since = event_runtime.new_event_id($1::timestamptz)`, begin); err != nil {
		return err
	}
	return b.exec(ctx, `VACUUM ANALYZE`)
}
