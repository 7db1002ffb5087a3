package relay

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/nats-io/nats.go"
	"github.com/rs/zerolog"
)

// Variables of a child process that is a relay and nothing else.
const (
	roleEnv     = "RELAY_TEST_ROLE"
	databaseEnv = "RELAY_TEST_DATABASE"
	natsEnv     = "RELAY_TEST_NATS"
	fileEnv     = "RELAY_TEST_FILE"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(report(beRelay()))
	}
	_ = os.Setenv("OUTBOX_PG_HOST", "127.0.0.1") // as in the captures
	testenv.Main(m)
}

// beRelay is the whole life of the child.
func beRelay() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	cfg := testConfig(os.Getenv(databaseEnv))
	cfg.File = os.Getenv(fileEnv)
	var nc *nats.Conn
	if url := os.Getenv(natsEnv); url != "" {
		var err error
		if nc, _, err = transport.Connect(transport.Config{URL: url}, "relay"); err != nil {
			return err
		}
		defer nc.Close()
	}
	r, err := New(cfg, nc, zerolog.New(os.Stdout))
	if err != nil {
		return err
	}
	return r.Run(ctx)
}

func report(err error) (status int) {
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
