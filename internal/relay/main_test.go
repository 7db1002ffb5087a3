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
	"github.com/rs/zerolog"
)

// Variables of a child process that is a relay and nothing else.
const (
	roleEnv     = "RELAY_TEST_ROLE"
	databaseEnv = "RELAY_TEST_DATABASE"
	natsEnv     = "RELAY_TEST_NATS"
)

func TestMain(m *testing.M) {
	if os.Getenv(roleEnv) != "" {
		os.Exit(beRelay()) //nolint:forbidigo // here it is a main
	}
	_ = os.Setenv("OUTBOX_PG_HOST", "127.0.0.1") // as in the captures
	testenv.Main(m)
}

// beRelay is the whole life of the child.
func beRelay() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	nc, _, err := transport.Connect(transport.Config{URL: os.Getenv(natsEnv)}, "relay")
	if err == nil {
		defer nc.Close()
		var r *Relay
		if r, err = New(testConfig(os.Getenv(databaseEnv)), nc, zerolog.New(os.Stdout)); err == nil {
			err = r.Run(ctx)
		}
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	return 0
}
