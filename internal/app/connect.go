package app

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
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
