package transport

import (
	"bytes"
	"fmt"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nkeys"
)

// Config is how to reach NATS.
type Config struct {
	URL             string `env:"URL, required"`    // nats://host:port[,host:port]
	CredentialsFile string `env:"CREDENTIALS_FILE"` // a .creds file; Credentials says the same and more
	Credentials     string `env:"CREDENTIALS"`      // file:/path or env:NAME of a .creds file's text or an nkey seed
	InboxPrefix     string `env:"INBOX_PREFIX"`     // where answers may come, where the account gives each its own
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
	who, err := cfg.identity()
	if err != nil {
		return nil, nil, fmt.Errorf("connect to nats: %w", err)
	}
	nc, err := nats.Connect(cfg.URL, append(opts, who...)...)
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

// identity is who connects, and where it is answered.
func (c Config) identity() ([]nats.Option, error) {
	var who []nats.Option
	if c.CredentialsFile != "" {
		who = append(who, nats.UserCredentials(c.CredentialsFile))
	}
	if c.InboxPrefix != "" {
		who = append(who, nats.CustomInboxPrefix(c.InboxPrefix))
	}
	if c.Credentials == "" {
		return who, nil
	}
	secret, err := credential.Read(c.Credentials)
	if err != nil {
		return nil, err
	}
	secret = bytes.TrimSpace(secret)
	if bytes.Contains(secret, []byte("BEGIN NATS USER JWT")) {
		return append(who, nats.UserCredentialBytes(secret)), nil
	}
	pair, err := nkeys.FromSeed(secret)
	if err != nil {
		return nil, fmt.Errorf("%s holds neither a .creds file nor an nkey seed", c.Credentials)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.Credentials, err)
	}
	return append(who, nats.Nkey(public, pair.Sign)), nil
}
