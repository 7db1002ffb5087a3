package local

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	natsName       = "event-runtime"
	natsFileStore  = 10 << 30
	natsMemory     = 256 << 20
	natsMaxPayload = 1 << 20
	handOver       = time.Second
	cutConnections = 2 * time.Second
)

// options says everything in one place; there is no configuration file. What is
// not named here (websocket, MQTT, leafnodes, gateways, profiling) stays off.
func (cfg NATSConfig) options(port int) (*server.Options, error) {
	o := &server.Options{
		ServerName: cfg.ServerName, Host: loopback, Port: port,
		HTTPHost: loopback, HTTPPort: cfg.Monitor,
		NoSigs:    true, // signals are the program's: it turns them into a context
		JetStream: true, StoreDir: cfg.Dir, SyncAlways: cfg.SyncAlways,
		NoJetStreamStrict:      false, // a misspelt stream setting is an error, not a default
		JetStreamMaxStore:      cfg.MaxFileStore,
		JetStreamMaxMemory:     natsMemory,
		MaxPayload:             natsMaxPayload,
		DisableJetStreamBanner: true,
		LameDuckGracePeriod:    handOver, LameDuckDuration: handOver + cutConnections,
	}
	if o.ServerName == "" {
		o.ServerName = natsName
	}
	if o.JetStreamMaxStore == 0 {
		o.JetStreamMaxStore = natsFileStore
	}
	if cfg.Cluster.Name == "" {
		return o, nil
	}
	o.Cluster = server.ClusterOpts{Name: cfg.Cluster.Name, Host: loopback, Port: cfg.Cluster.Port}
	for _, route := range cfg.Cluster.Routes {
		u, err := url.Parse(route)
		if err != nil {
			return nil, fmt.Errorf("route to a cluster member: %w", err)
		}
		o.Routes = append(o.Routes, u)
	}
	return o, nil
}

// natsLog passes the server's lines on and remembers the first fatal one: the
// server does not return it, and its own logger would end the process.
type natsLog struct {
	write func(level, text string)
	fatal chan string
}

func (l *natsLog) line(level, format string, args []any) {
	if l.write != nil {
		l.write(level, fmt.Sprintf(format, args...))
	}
}

func (l *natsLog) Noticef(format string, args ...any) { l.line("info", format, args) }
func (l *natsLog) Warnf(format string, args ...any)   { l.line("warn", format, args) }
func (l *natsLog) Errorf(format string, args ...any)  { l.line("error", format, args) }
func (l *natsLog) Debugf(string, ...any)              {}
func (l *natsLog) Tracef(string, ...any)              {}

func (l *natsLog) Fatalf(format string, args ...any) {
	l.line("fatal", format, args)
	select {
	case l.fatal <- fmt.Sprintf(format, args...):
	default: // the first says why; the others follow from it
	}
}

func natsFatal(text string) error {
	if strings.HasPrefix(text, "Error listening on port") {
		return fmt.Errorf("%w: %s", errPortTaken, text)
	}
	return fmt.Errorf("nats ended while starting: %s", text)
}
