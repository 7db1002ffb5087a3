package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"time"

	"github.com/finnest/event-runtime/internal/local"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// syncPart lets the relay catch up one by one and in groups, with servers that
// sync at different times.
func syncPart(ctx context.Context, b *bed, o options) error {
	if err := b.exec(ctx, `SELECT pg_create_logical_replication_slot($1, 'pgoutput')`, template); err != nil {
		return err
	}
	if err := b.produce(ctx, o.rows); err != nil {
		return err
	}
	b.limits.Atomic = true
	for _, c := range []struct {
		name  string
		nodes int
		args  []string
	}{
		{"R1, synced every two minutes", 1, nil},
		{"R1, always synced", 1, []string{"--sync-always"}},
		{"R3 on one disk, always synced", 3, []string{"--sync-always"}},
	} {
		b.stopBroker()
		if err := b.startNodes(ctx, c.nodes, c.args...); err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		runs, err := alternate(o.rounds, [2]func() (sample, error){
			func() (sample, error) {
				return catchUp(ctx, b, o.rows, func() (*program, error) { return b.relayWith() })
			},
			func() (sample, error) {
				return catchUp(ctx, b, o.rows, func() (*program, error) { return b.relayWith("RELAY_GROUP=1") })
			},
		})
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		compare("sync: "+c.name, [2]string{"in groups", "one by one"}, runs)
	}
	return nil
}

// startNodes starts so many servers; several are a cluster.
func (b *bed) startNodes(ctx context.Context, n int, args ...string) error {
	ports := make([]int, 2*n)
	for i := range ports {
		var err error
		if ports[i], err = local.FreePort(); err != nil {
			return err
		}
	}
	b.brokerURL = ""
	for i := range n {
		b.started++
		all := append([]string{"nats", "--dir", filepath.Join(b.dir, fmt.Sprintf("nats-%d", b.started)), "--port", strconv.Itoa(ports[i])}, args...)
		if n > 1 {
			all = append(all, "--name", fmt.Sprintf("n%d", i), "--cluster", "bench", "--cluster-port", strconv.Itoa(ports[n+i]))
			for k := range n {
				if k != i {
					all = append(all, "--route", fmt.Sprintf("nats://127.0.0.1:%d", ports[n+k]))
				}
			}
		}
		p, err := b.start("nats", b.runtime, nil, all...)
		if err != nil {
			return err
		}
		b.others = append(b.others, p)
		if i > 0 {
			b.brokerURL += ","
		}
		b.brokerURL += "nats://127.0.0.1:" + strconv.Itoa(ports[i])
	}
	b.limits.Replicas = n
	return b.connect(ctx)
}

// connect waits until the servers answer, and gives them streams.
func (b *bed) connect(ctx context.Context) error {
	err := await(ctx, "nats", func() (_ bool, err error) {
		b.nc, err = nats.Connect(b.brokerURL)
		return err == nil, nil
	})
	if err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		return err
	}
	return await(ctx, "streams", func() (bool, error) {
		try, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		return b.emptyStreams(try) == nil, nil
	})
}
