package up

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"time"

	"github.com/finnest/event-runtime/internal/demo"
	"github.com/finnest/event-runtime/internal/local"
	"github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/jackc/pgx/v5"
	"github.com/nats-io/nats.go"
)

func on(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// list is the child processes, in the order of their start.
func (m *machine) list() []local.Child {
	regulator := filepath.Join(m.dir, "regulator")
	children := []local.Child{
		{Name: "nats", Args: m.natsArgs(), Ready: m.natsReady},
		{Name: "regulator", Ready: m.regulatorReady, Args: []string{"simulate", "ofb", "--auth-addr", on(m.ports.auth), "--api-addr", on(m.ports.api),
			"--control-addr", on(m.ports.control), "--data-dir", regulator, "--visibility", "500ms", "--counterpart", "equal", "--seed", strconv.FormatUint(m.opt.Seed, 10)}},
		{Name: "serve", Args: []string{"serve"}, Env: m.serveEnv(regulator), Grace: 30 * time.Second, Ready: m.serveReady},
		{Name: "relay", Args: []string{"relay"}, Grace: 15 * time.Second, Env: []string{
			"RELAY_DATABASE_URL=" + m.postgres.URL(database, "runtime_relay"), "NATS_URL=nats://" + on(m.ports.nats), "RELAY_HTTP_ADDR=" + on(m.ports.relay)}, Ready: m.relayReady},
	}
	if m.opt.Demo {
		children = append(children, local.Child{Name: "bank", Grace: 20 * time.Second, Ready: m.bankReady, Env: []string{"DATABASE_URL=" + m.postgres.URL(database, "runtime_producer")},
			Args: []string{"simulate", "bank", "--addr", on(m.ports.bank), "--rate", strconv.FormatFloat(m.opt.Rate, 'f', -1, 64)}})
	}
	return children
}

func (m *machine) natsArgs() []string {
	args := []string{"nats", "--dir", filepath.Join(m.dir, "nats"), "--port", strconv.Itoa(m.ports.nats)}
	if m.opt.SyncAlways {
		args = append(args, "--sync-always")
	}
	return args
}

// serveEnv is the worker's configuration. Times are seconds where production
// has minutes, so that a person can watch doubt being cleared up.
func (m *machine) serveEnv(regulator string) []string {
	return []string{
		"DATABASE_URL=" + m.postgres.URL(database, "runtime_worker"),
		"MAINTENANCE_DATABASE_URL=" + m.postgres.URL(database, "runtime_maintenance"),
		"SPOOL_DIR=" + filepath.Join(m.dir, "spool"),
		"NATS_URL=nats://" + on(m.ports.nats), "NATS_STREAM_INTERACTIONS_MAX_BYTES=4294967296", "NATS_STREAM_EVENTS_MAX_BYTES=2147483648", "NATS_STREAM_ATOMIC=" + strconv.FormatBool(m.opt.SyncAlways),
		"HTTP_ADDR=" + on(m.ports.http),
		"OFB_AUTH_URL=https://" + on(m.ports.auth), "OFB_API_URL=https://" + on(m.ports.api), "OFB_CA_FILE=" + filepath.Join(regulator, "pki", "ca.pem"),
		"SUBMIT_POST_WITHIN=2s", "SUBMIT_EXCHANGE_TIMEOUT=3s", "SUBMIT_UNCONFIRMED_AFTER=4s", "SUBMIT_RETRY_BASE=200ms", "SUBMIT_RETRY_MOST=5s",
		"SUBMIT_BREAKER_PAUSE=5s", "SUBMIT_ASK_AFTER=6s,8s,10s,12s", "SUBMIT_ASK_AGAIN=30s", "SUBMIT_ASK_RATE=200", "SUBMIT_ASK_PERSON_SLACK=1m",
		"SUBMIT_ASK_SKEW=500ms", "FLUSH_POLL=250ms",
	}
}

func (m *machine) natsReady(context.Context) error {
	nc, err := nats.Connect("nats://"+on(m.ports.nats), nats.Timeout(time.Second))
	if err == nil {
		nc.Close()
	}
	return err
}

// regulatorReady also makes its certificates known to the demonstration's
// tenants: they are files that the simulator has just made.
func (m *machine) regulatorReady(ctx context.Context) error {
	var where ofb.Whereabouts
	if err := m.get(ctx, m.ports.control, "/_pki", &where); err != nil {
		return err
	}
	if !m.opt.Demo {
		return nil
	}
	return m.withSuperuser(ctx, database, func(conn *pgx.Conn) error { return demo.Seed(ctx, conn, where.PKI) })
}

func (m *machine) serveReady(ctx context.Context) error {
	return m.get(ctx, m.ports.http, "/readyz", nil)
}

func (m *machine) relayReady(ctx context.Context) error {
	return m.get(ctx, m.ports.relay, "/readyz", nil)
}

func (m *machine) bankReady(ctx context.Context) error {
	return m.get(ctx, m.ports.bank, "/_stats", nil)
}

// get asks one of our own processes.
func (m *machine) get(ctx context.Context, port int, path string, into any) error {
	return m.ask(ctx, http.MethodGet, port, path, into)
}

func (m *machine) ask(ctx context.Context, method string, port int, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+on(port)+path, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s answered %s", method, path, res.Status)
	}
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}
