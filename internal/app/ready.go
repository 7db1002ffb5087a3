package app

import (
	"context"

	"github.com/finnest/event-runtime/internal/api"
	"github.com/nats-io/nats.go"
)

func (p *parts) checks() []api.Check {
	checks := []api.Check{
		{Name: "postgres", Do: func(ctx context.Context) string { return failure(p.pool.Ping(ctx)) }},
		{Name: "nats", Do: func(context.Context) string {
			return unconnected(p.nc)
		}},
		{Name: "streams", Do: func(context.Context) string {
			if why := p.drift.Load(); why != nil {
				return *why
			}
			return "not looked at yet"
		}},
	}
	checks = append(checks, api.Check{Name: "slot", Do: func(context.Context) string { return p.slot.Ready() }})
	if p.sweeperNC != nil {
		checks = append(checks, api.Check{Name: "nats sweeper", Do: func(context.Context) string { return unconnected(p.sweeperNC) }})
	}
	if p.producer != nil {
		checks = append(checks, api.Check{Name: "producer", Do: func(ctx context.Context) string { return failure(p.producer.Ping(ctx)) }})
	}
	for _, c := range p.consumers {
		checks = append(checks, api.Check{Name: "consumer " + c.Name(), Do: func(context.Context) string { return c.Ready() }})
	}
	return checks
}

func unconnected(nc *nats.Conn) string {
	if nc.Status() != nats.CONNECTED {
		return "connection is " + nc.Status().String()
	}
	return ""
}

func failure(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}
