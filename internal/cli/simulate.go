package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/app"
	"github.com/finnest/event-runtime/internal/demo"
	"github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/telemetry"
)

type simulateCommand struct {
	OFB  simulateOFB  `cmd:"" name:"ofb" help:"The Open Finance metrics platform: tokens and private reports, with faults on demand and a ledger of everything it was sent."`
	Bank simulateBank `cmd:"" help:"Banks with an instrumented API, and traffic between them."`
}

type simulateOFB struct {
	AuthAddr    string        `default:"127.0.0.1:8443" help:"Token host (mTLS)."`
	APIAddr     string        `default:"127.0.0.1:8444" help:"Report host (TLS)."`
	ControlAddr string        `default:"127.0.0.1:8445" help:"Faults and ledger; loopback only."`
	DataDir     string        `default:".event-runtime/regulator" help:"Certificates and journal; what it was sent survives a restart."`
	Directory   string        `help:"Seed file of organisations (default: five fictitious ones)."`
	Visibility  time.Duration `default:"2s" help:"Until a report can be looked up."`
	Rate        int           `default:"300" help:"Requests a second for each organisation."`
	Seed        uint64        `help:"Of report ids and fault odds."`
	Counterpart string        `enum:",equal,different_status,missing,late" default:"" help:"How the other side of each call reports it (default: not at all)."`
}

func (c simulateOFB) Run(ctx context.Context, o output) error {
	cfg := ofb.Config{AuthAddr: c.AuthAddr, APIAddr: c.APIAddr, ControlAddr: c.ControlAddr, DataDir: c.DataDir, VisibilityDelay: c.Visibility, RatePerSecond: c.Rate, Seed: c.Seed,
		Counterparty: ofb.Counterparty{Mode: ofb.Mode(c.Counterpart)}}
	if c.Directory != "" {
		directory, err := ofb.LoadDirectory(c.Directory)
		if err != nil {
			return err
		}
		cfg.Directory = directory
	}
	server, err := ofb.New(cfg)
	if err != nil {
		return err
	}
	told := context.AfterFunc(readyContext(ctx, server.Ready()), func() {
		fmt.Fprintf(o.out, "tokens   %s\nreports  %s\ncontrol  %s/_ledger\n", server.AuthURL(), server.APIURL(), server.ControlURL())
	})
	defer told()
	return server.Run(ctx)
}

// readyContext ends when ready is closed.
func readyContext(ctx context.Context, ready <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		defer cancel()
		select {
		case <-ready:
		case <-ctx.Done():
		}
	}()
	return ctx
}

type simulateBank struct {
	DatabaseURL string  `env:"DATABASE_URL" required:"" help:"As runtime_producer."`
	Addr        string  `default:"127.0.0.1:8446" help:"Where the banks are."`
	Rate        float64 `default:"20" help:"Events a second; 0: none."`
}

func (c simulateBank) Run(ctx context.Context, o output) error {
	pool, err := app.Pool(ctx, c.DatabaseURL, 16)
	if err != nil {
		return err
	}
	defer pool.Close()
	log := telemetry.Logger(telemetry.LogConfig{}, o.err, "bank")
	market, err := demo.NewMarket(ctx, pool, c.Addr, c.Rate, log)
	if err != nil {
		return err
	}
	return market.Run(ctx)
}
