package app

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/rs/zerolog"
)

// Pool opens connections lazily; its size is stated, not guessed from the
// machine.
func Pool(ctx context.Context, url string, conns int32) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.MaxConns = conns
	cfg.ConnConfig.ConnectTimeout = 5 * time.Second
	// An open transaction pins the slot and the sweeper's grace, and one of a
	// process that was stopped keeps its locks. The address may say it otherwise.
	if params := cfg.ConnConfig.RuntimeParams; params["idle_in_transaction_session_timeout"] == "" {
		params["idle_in_transaction_session_timeout"] = "60000"
	}
	cfg.ConnConfig.RuntimeParams["timezone"] = "UTC"
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("open database pool: %w", err)
	}
	return pool, nil
}

// connect opens a connection that tells when it is refused something: JetStream
// says nothing to whom the account lets ask nothing.
func connect(cfg transport.Config, name string, log zerolog.Logger) (*nats.Conn, jetstream.JetStream, error) {
	return transport.Connect(cfg, name, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		if errors.Is(err, nats.ErrPermissionViolation) || errors.Is(err, nats.ErrAuthorization) {
			log.Error().Str("event", "nats.refused").Str("identity", name).Err(err).Send()
		}
	}))
}

// until repeats do until it succeeds: services of one machine start together.
func until(ctx context.Context, log zerolog.Logger, name string, do func(context.Context) error) error {
	told := false
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 5*time.Second) {
		try, cancel := context.WithTimeout(ctx, 15*time.Second)
		err := do(try)
		cancel()
		if err == nil || ctx.Err() != nil {
			return ctx.Err()
		}
		if !told && wait > 3*time.Second {
			log.Warn().Str("event", name).Err(err).Send()
			told = true
		}
		sleep(ctx, wait)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
