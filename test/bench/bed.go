package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/finnest/event-runtime/internal/demo"
	"github.com/finnest/event-runtime/internal/local"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/finnest/event-runtime/migrations"
	"github.com/finnest/event-runtime/outbox"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// programs are the binaries under measurement, built as they are released.
type programs struct {
	dir, runtime, lib, plain string
	keep                     bool
}

func buildPrograms(ctx context.Context, keep bool) (p programs, err error) {
	if p.dir, err = os.MkdirTemp("", "event-runtime-bench-"); err != nil {
		return p, err
	}
	p.keep = keep
	p.runtime, p.lib, p.plain = filepath.Join(p.dir, "event-runtime"), filepath.Join(p.dir, "lib"), filepath.Join(p.dir, "plain")
	for out, from := range map[string]string{p.runtime: "cmd/event-runtime", p.lib: "test/bench/lib", p.plain: "test/bench/plain"} {
		cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", out, "github.com/finnest/event-runtime/"+from)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := cmd.CombinedOutput(); err != nil {
			return p, fmt.Errorf("build %s: %w\n%s", from, err, text)
		}
	}
	return p, nil
}

func (p programs) remove() error {
	if p.keep {
		fmt.Println("\nkept:", p.dir)
		return nil
	}
	return os.RemoveAll(p.dir)
}

// bed is one part's own Postgres and NATS.
type bed struct {
	programs
	dir       string
	postgres  *local.Postgres
	pool      *pgxpool.Pool // as superuser
	broker    *program
	others    []*program // of its cluster
	limits    transport.Limits
	brokerURL string
	nc        *nats.Conn
	js        jetstream.JetStream
	started   int
}

const database = "bench"

func newBed(ctx context.Context, p programs, part string) (_ *bed, err error) {
	b := &bed{programs: p, dir: filepath.Join(p.dir, part), limits: transport.Limits{Replicas: 1, InteractionsBytes: 4 << 30, EventsBytes: 2 << 30, DLQBytes: 64 << 20}}
	if err := os.MkdirAll(b.dir, 0o700); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			b.close(ctx)
		}
	}()
	if b.postgres, err = local.StartPostgres(ctx, local.PostgresConfig{Dir: filepath.Join(b.dir, "postgres"), Durable: true, Trust: true,
		Extra: map[string]string{"max_slot_wal_keep_size": "16GB"}}); err != nil {
		return nil, err
	}
	if err := b.schema(ctx); err != nil {
		return nil, err
	}
	return b, b.startBroker(ctx)
}

func (b *bed) schema(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.url("postgres", ""))
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+database)
	if err := errors.Join(err, conn.Close(ctx)); err != nil {
		return err
	}
	if err := migrations.UpWith(ctx, b.url(database, ""), migrations.Options{HashModulus: 1}); err != nil {
		return err
	}
	b.pool, err = pgxpool.New(ctx, b.url(database, ""))
	return err
}

func (b *bed) url(database, role string) string { return b.postgres.URL(database, role) }

func (b *bed) stopBroker() {
	if b.nc != nil {
		b.nc.Close()
	}
	for _, p := range append(b.others, b.broker) {
		if p != nil {
			_ = p.stop()
		}
	}
	b.nc, b.broker, b.others = nil, nil, nil
}

func (b *bed) startBroker(ctx context.Context) error {
	port, err := local.FreePort()
	if err != nil {
		return err
	}
	b.brokerURL = "nats://127.0.0.1:" + strconv.Itoa(port)
	if b.broker, err = b.start("nats", b.runtime, nil, "nats", "--dir", filepath.Join(b.dir, "nats"), "--port", strconv.Itoa(port)); err != nil {
		return err
	}
	if err := await(ctx, "nats", func() (bool, error) {
		b.nc, err = nats.Connect(b.brokerURL)
		return err == nil, nil
	}); err != nil {
		return err
	}
	if b.js, err = jetstream.New(b.nc); err != nil {
		return err
	}
	return b.emptyStreams(ctx)
}

// emptyStreams gives the next contender streams without messages and consumers
// without a past.
func (b *bed) emptyStreams(ctx context.Context) error {
	for _, s := range transport.Streams(b.limits) {
		if err := b.js.DeleteStream(ctx, s.Name); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
	}
	return transport.Provision(ctx, b.js, b.pool, b.limits, time.Now())
}

func (b *bed) close(ctx context.Context) {
	ctx = context.WithoutCancel(ctx)
	b.stopBroker()
	if b.pool != nil {
		b.pool.Close()
	}
	if b.postgres != nil {
		b.postgres.Stop(ctx)
	}
}

// streamed counts what is in JetStream.
func (b *bed) streamed(ctx context.Context) (n int, err error) {
	for _, name := range []string{transport.Interactions, transport.Events} {
		s, err := b.js.Stream(ctx, name)
		if err != nil {
			return 0, err
		}
		n += int(s.CachedInfo().State.Msgs)
	}
	return n, nil
}

func (b *bed) count(ctx context.Context, sql string, args ...any) (n int, err error) {
	return n, b.pool.QueryRow(ctx, sql, args...).Scan(&n)
}

func (b *bed) exec(ctx context.Context, sql string, args ...any) error {
	_, err := b.pool.Exec(ctx, sql, args...)
	return err
}

// rowsPerTx is a producer that commits many calls at once, as it must at peak.
const rowsPerTx = 500

// produce appends n captured calls of the demonstration's banks.
func (b *bed) produce(ctx context.Context, n int) error {
	producer, err := pgx.Connect(ctx, b.url(database, "runtime_producer"))
	if err != nil {
		return err
	}
	defer func() { _ = producer.Close(context.WithoutCancel(ctx)) }()
	for at := 0; at < n; at += rowsPerTx {
		events := make([]outbox.Event, min(rowsPerTx, n-at))
		for i := range events {
			events[i] = call(at + i)
		}
		if err := pgx.BeginFunc(ctx, producer, func(tx pgx.Tx) error {
			_, err := outbox.Append(ctx, tx, events...)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// call is one captured call, about 700 bytes, spread over the banks.
func call(i int) outbox.Event {
	banks := demo.Banks()
	bank := banks[i%len(banks)]
	return outbox.Event{TenantID: bank.Tenant, Ecosystem: "ofb", Type: "interaction.completed", Source: "bench", Payload: map[string]any{
		"role": "SERVER", "fapiInteractionId": uuid.NewString(), "endpoint": "/open-banking/accounts/v2/accounts/{accountId}/transactions", "httpMethod": "GET",
		"statusCode": 200, "timestamp": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), "processTimespan": 1 + i%4000,
		"clientOrgId": demo.Partner(), "serverOrgId": bank.Organisation,
		"additionalInfo": map[string]any{"consentId": "urn:bench:" + uuid.NewString(), "personType": "PN", "localInstrument": "DICT"},
	}}
}

// awaitIdle waits until a slot has nobody on it.
func (b *bed) awaitIdle(ctx context.Context, slot string) error {
	return await(ctx, "slot "+slot, func() (bool, error) {
		n, err := b.count(ctx, `SELECT count(*) FROM pg_replication_slots WHERE slot_name = $1 AND active`, slot)
		return n == 0, err
	})
}

// regulator starts the simulator and makes the banks known.
func (b *bed) regulator(ctx context.Context) (p *program, env []string, err error) {
	var ports [3]int
	for i := range ports {
		if ports[i], err = local.FreePort(); err != nil {
			return nil, nil, err
		}
	}
	address := func(i int) string { return "127.0.0.1:" + strconv.Itoa(ports[i]) }
	dir := filepath.Join(b.dir, "regulator")
	p, err = b.start("regulator", b.runtime, nil, "simulate", "ofb", "--auth-addr", address(0), "--api-addr", address(1), "--control-addr", address(2), "--data-dir", dir, "--rate", "1000000")
	if err != nil {
		return nil, nil, err
	}
	var where simulator.Whereabouts
	if err := await(ctx, "regulator", func() (bool, error) { return get(ctx, "http://"+address(2)+"/_pki", &where) == nil, nil }); err != nil {
		return nil, nil, err
	}
	conn, err := b.pool.Acquire(ctx)
	if err != nil {
		return nil, nil, err
	}
	defer conn.Release()
	if err := demo.Seed(ctx, conn.Conn(), where.PKI); err != nil {
		return nil, nil, err
	}
	return p, []string{"OFB_AUTH_URL=https://" + address(0), "OFB_API_URL=https://" + address(1), "OFB_CA_FILE=" + filepath.Join(dir, "pki", "ca.pem")}, nil
}

// serve starts the worker.
func (b *bed) serve(env ...string) (*program, error) {
	port, err := local.FreePort()
	if err != nil {
		return nil, err
	}
	return b.start("serve", b.runtime, append([]string{"DATABASE_URL=" + b.url(database, "runtime_worker"), "NATS_URL=" + b.brokerURL, "SPOOL_DIR=" + filepath.Join(b.dir, "spool"),
		"NATS_STREAM_INTERACTIONS_MAX_BYTES=4294967296", "NATS_STREAM_EVENTS_MAX_BYTES=2147483648", "HTTP_ADDR=127.0.0.1:" + strconv.Itoa(port), "LOG_LEVEL=warn"}, env...), "serve")
}

// relay starts the built-in relay.
func (b *bed) relay() (*program, error) { return b.relayWith() }

func (b *bed) relayWith(env ...string) (*program, error) {
	port, err := local.FreePort()
	if err != nil {
		return nil, err
	}
	return b.start("relay", b.runtime, append(env, "RELAY_DATABASE_URL="+b.url(database, "runtime_relay"), "NATS_URL="+b.brokerURL, "RELAY_HTTP_ADDR=127.0.0.1:"+strconv.Itoa(port), "LOG_LEVEL=warn"), "relay")
}

// wantWhole is `event-runtime verify`: a fast path that loses something is none.
func (b *bed) wantWhole(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, b.runtime, "verify", "--grace", "0s", "--database-url", b.url(database, "")).CombinedOutput()
	if err != nil {
		return fmt.Errorf("verify: %w\n%s", err, out)
	}
	return nil
}

// get reads one JSON answer.
func get(ctx context.Context, url string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answered %s", url, res.Status)
	}
	return json.NewDecoder(res.Body).Decode(into)
}
