package transport

import (
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Config is how to reach NATS.
type Config struct {
	URL             string `env:"URL, required"` // nats://host:port[,host:port]
	CredentialsFile string `env:"CREDENTIALS_FILE"`
	// Provision makes missing streams and consumers at start. Off where another
	// identity does it.
	Provision bool   `env:"PROVISION, default=true"`
	Streams   Limits `env:", prefix=STREAM_"`
}

// Connect opens a connection that reconnects for ever: whoever uses it sees
// errors meanwhile, and readiness says why.
func Connect(cfg Config, name string, opts ...nats.Option) (*nats.Conn, jetstream.JetStream, error) {
	opts = append([]nats.Option{
		nats.Name("event-runtime " + name), nats.MaxReconnects(-1), nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectJitter(250*time.Millisecond, time.Second), nats.RetryOnFailedConnect(true), nats.Timeout(5 * time.Second),
		nats.ReconnectBufSize(-1), // what cannot be sent now is an error now, not a surprise later
		nats.PingInterval(10 * time.Second), nats.MaxPingsOutstanding(3),
	}, opts...)
	if cfg.CredentialsFile != "" {
		opts = append(opts, nats.UserCredentials(cfg.CredentialsFile))
	}
	nc, err := nats.Connect(cfg.URL, opts...)
	if err != nil {
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("open jetstream: %w", err)
	}
	return nc, js, nil
}
