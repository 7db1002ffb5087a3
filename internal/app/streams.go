package app

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// streamGauge offers how full the streams were when they were looked at last. A
// full one stores nothing more, or forgets what is oldest.
type streamGauge struct {
	fill atomic.Pointer[map[string]float64]
}

func newStreamGauge() (*streamGauge, error) {
	g := &streamGauge{}
	_, err := otel.Meter("event-runtime/streams").Float64ObservableGauge("event_runtime_stream_fill_ratio",
		metric.WithDescription("Bytes of a stream, of the most it may have."),
		metric.WithFloat64Callback(func(_ context.Context, o metric.Float64Observer) error {
			if fill := g.fill.Load(); fill != nil {
				for stream, ratio := range *fill {
					o.Observe(ratio, metric.WithAttributes(attribute.String("stream", stream)))
				}
			}
			return nil
		}))
	return g, err
}

// watch compares the live streams with what we need. What is gone altogether is
// made again: a server that lost its disk has lost nothing that the outbox has not.
func (p *parts) watch(ctx context.Context) error {
	for answered := time.Now(); ctx.Err() == nil; sleep(ctx, watchEvery) {
		began := time.Now()
		seen, err := p.look(ctx)
		if err == nil && seen.Missing && p.cfg.NATS.Provision {
			p.log.Warn().Str("event", "streams.provisioned").Strs("missing", seen.Drift).AnErr("error", p.provision(ctx)).Send()
			seen, err = p.look(ctx)
		}
		switch {
		case err == nil:
			answered = began
			p.judge(seen)
		case time.Since(answered) >= leaderWithin && ctx.Err() == nil:
			answered = time.Now()
			p.elsewhere(p.nc, err)
			p.elsewhere(p.sweeperNC, err)
		}
	}
	return nil
}

const (
	watchEvery   = 3 * time.Second
	lookWithin   = 3 * time.Second
	leaderWithin = 10 * time.Second // a cluster that has lost one finds another
)

// elsewhere goes to another server: one that is cut off from its cluster still
// lets its clients talk, and would keep us for ever.
func (p *parts) elsewhere(nc *nats.Conn, why error) {
	if nc == nil || !nc.IsConnected() || len(nc.Servers()) < 2 {
		return
	}
	from := nc.ConnectedAddr()
	p.log.Warn().Str("event", "nats.moved").Str("from", from).AnErr("why", why).AnErr("error", nc.ForceReconnect()).Send()
}

func (p *parts) look(ctx context.Context) (transport.Sight, error) {
	ctx, cancel := context.WithTimeout(ctx, lookWithin)
	defer cancel()
	return transport.Look(ctx, p.js, p.cfg.NATS.Streams)
}

// judge keeps what was seen, and tells when it is something else than before.
func (p *parts) judge(seen transport.Sight) {
	p.streams.fill.Store(&seen.Fill)
	why := ""
	if len(seen.Drift) > 0 {
		why = fmt.Sprint(seen.Drift)
	}
	if before := p.drift.Swap(&why); why != "" && (before == nil || *before != why) {
		p.log.Error().Str("event", "streams.drifted").Strs("settings", seen.Drift).Send()
	}
}
