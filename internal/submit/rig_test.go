package submit_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/adapters/ofb"
	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/flush"
	simulator "github.com/finnest/event-runtime/internal/simulator/ofb"
	"github.com/finnest/event-runtime/internal/submit"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/verify"
	"github.com/finnest/event-runtime/outbox"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/rs/zerolog"
	"golang.org/x/time/rate"
)

// clock is shared by desk, adapter and regulator, and moves only by hand.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) now() time.Time { c.mu.Lock(); defer c.mu.Unlock(); return c.at }

func (c *clock) forward(d time.Duration) { c.mu.Lock(); defer c.mu.Unlock(); c.at = c.at.Add(d) }

// bench is a desk with a real database, the real adapter and the simulator, and
// a proxy in front of the simulator's report host.
type bench struct {
	t         *testing.T
	clock     *clock
	db        *testenv.DB
	pool      *pgxpool.Pool
	regulator *simulator.Server
	proxy     *testenv.FaultProxy
	tenants   *tenant.Directory
	desk      *submit.Desk
	adapter   *ofb.Adapter
	timing    submit.Timing
	events    []event.ID
}

const bank = "acme-bank"

func newBench(t *testing.T, change ...func(*simulator.Config)) *bench {
	t.Helper()
	b := &bench{t: t, clock: &clock{at: time.Now().UTC().Truncate(time.Millisecond)}, db: testenv.Postgres(t)}
	b.pool = b.db.Pool("runtime_worker")
	cfg := simulator.Config{Now: b.clock.now, VisibilityDelay: 2 * time.Second, RatePerSecond: -1, Seed: 1}
	for _, c := range change {
		c(&cfg)
	}
	b.startRegulator(cfg)
	b.proxy = testenv.Proxy(t, hostOf(t, b.regulator.APIURL()))
	b.seed()
	log := zerolog.New(zerolog.NewTestWriter(t))
	var err error
	if b.tenants, err = tenant.Open(t.Context(), b.pool, log); err != nil {
		t.Fatal(err)
	}
	b.adapter, err = ofb.New(ofb.Config{AuthURL: b.regulator.AuthURL(), APIURL: "https://" + b.proxy.Addr(), CAFile: b.regulator.PKI().CA,
		Connect: 2 * time.Second, Handshake: 2 * time.Second, Lookup: 2 * time.Second}, b.tenants.Snapshot, b.clock.now, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.adapter.Close)
	b.timing = submit.Timing{PostWithin: 2 * time.Second, Exchange: 2 * time.Second, GiveUpAfter: 3 * time.Second, RetryBase: time.Second, RetryMost: time.Minute,
		WaitMost: 15 * time.Minute, BreakerPause: 5 * time.Minute, Probes: []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second}, AskAgain: 24 * time.Hour,
		PersonSlack: time.Minute, Skew: 100 * time.Millisecond, Sample: 2, AskRate: 1000, PerLane: 50, Failures: 3, RecordFor: 5 * time.Second}
	b.desk = b.newDesk("desk-1", log)
	return b
}

func (b *bench) newDesk(owner string, log zerolog.Logger) *submit.Desk {
	b.t.Helper()
	spool, err := submit.OpenSpool(b.t.TempDir())
	if err != nil {
		b.t.Fatal(err)
	}
	desk, err := submit.NewDesk(submit.Deps{Pool: b.pool, Adapters: map[string]submit.Adapter{event.OFB: b.adapter}, Tenants: b.tenants.Snapshot, Timing: b.timing,
		Owner: owner, Now: b.clock.now, Log: log, Spool: spool})
	if err != nil {
		b.t.Fatal(err)
	}
	return desk
}

func (b *bench) startRegulator(cfg simulator.Config) {
	b.t.Helper()
	var err error
	if b.regulator, err = simulator.New(cfg); err != nil {
		b.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(b.t.Context()))
	done := make(chan error, 1)
	go func() { done <- b.regulator.Run(ctx) }()
	b.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			b.t.Errorf("regulator: %v", err)
		}
	})
	select {
	case <-b.regulator.Ready():
	case err := <-done:
		b.t.Fatalf("regulator: %v", err)
	}
}

func hostOf(t *testing.T, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return u.Host
}

func organisation() string { return simulator.DefaultDirectory().Organisations[2].ID }

func partner() string { return simulator.DefaultDirectory().Organisations[4].ID }

// seed makes one tenant known. It sends whatever waits, at once.
func (b *bench) seed() {
	b.t.Helper()
	files, ok := b.regulator.PKI().Of(organisation())
	if !ok {
		b.t.Fatal("the simulator does not know its own organisation")
	}
	b.db.Exec(`INSERT INTO event_runtime.tenants (tenant_id, name) VALUES ($1, 'Acme')`, bank)
	b.db.Exec(`INSERT INTO event_runtime.organisations (tenant_id, ecosystem, organisation_id, submitter_id) VALUES ($1, 'ofb', $2, $2)`, bank, organisation())
	b.db.Exec(`INSERT INTO event_runtime.credential_refs (tenant_id, ecosystem, organisation_id, client_id, certificate_ref, key_ref) VALUES ($1, 'ofb', $2, $3, $4, $5)`,
		bank, organisation(), files.ClientID, "file:"+files.Certificate, "file:"+files.Key)
	b.db.Exec(`INSERT INTO event_runtime.tenant_config (tenant_id, ecosystem, api, max_age) VALUES ($1, 'ofb', '*', '1 millisecond')`, bank)
	// Without it verify looks at no event.
	b.db.Exec(`INSERT INTO event_runtime.entitlements (consumer, ecosystem, family, since) VALUES ('pcm-ofb', 'ofb', 'interaction', '00000000-0000-7000-8000-000000000000')`)
}

// accept puts n calls where a consumer puts them: a consumer row each and one
// chunk.
func (b *bench) accept(n int) *bench { b.t.Helper(); return b.take(n, ofb.Private) }

// acceptOpen does so with calls of open data.
func (b *bench) acceptOpen(n int) *bench { b.t.Helper(); return b.take(n, ofb.OpenData) }

func (b *bench) take(n int, api string) *bench {
	b.t.Helper()
	at := b.clock.now()
	var arrivals []submit.Arrival
	err := pgx.BeginFunc(b.t.Context(), b.db.Pool("superuser"), func(tx pgx.Tx) error {
		for i := range n {
			role := []string{"CLIENT", "SERVER"}[i%2]
			interaction := uuid.New()
			payload := map[string]any{"role": role, "fapiInteractionId": interaction.String(), "endpoint": "/open-banking/accounts/v2/accounts", "httpMethod": "GET", "statusCode": 200,
				"timestamp": at.Add(-time.Minute).Format("2006-01-02T15:04:05.000Z"), "processTimespan": 12.5, "clientOrgId": organisation(), "serverOrgId": partner()}
			if role == "CLIENT" {
				payload["clientSSId"], payload["endpointUriPrefix"] = simulator.DefaultDirectory().Organisations[2].SoftwareStatements[0], "https://api.bank"
			} else {
				payload["clientOrgId"], payload["serverOrgId"] = partner(), organisation()
			}
			key := &interaction
			if api == ofb.OpenData {
				role, key = "SERVER", nil
				payload = map[string]any{"role": role, "fapiInteractionId": interaction.String(), "endpoint": "/open-banking/channels/v2/branches", "httpMethod": "GET", "statusCode": 200,
					"timestamp": payload["timestamp"], "processTimespan": 12.5 + float64(len(b.events)), "serverOrgId": organisation(), "additionalInfo": map[string]string{"clientIp": "203.0.113.7"}}
			}
			ids, err := outbox.Append(b.t.Context(), tx, outbox.Event{TenantID: bank, Ecosystem: event.OFB, Type: event.InteractionCompleted, Payload: payload})
			if err != nil {
				return err
			}
			id, err := event.ParseID(ids[0])
			if err != nil {
				return err
			}
			party, err := event.ParseID(organisation())
			if err != nil {
				return err
			}
			_, err = tx.Exec(b.t.Context(), `INSERT INTO event_runtime.consumer_idempotency (tenant_id, recorded_on, event_id, consumer, outcome, payload_hash, api, interaction_id, organisation_id, role)
				VALUES ($1, event_runtime.event_day($2), $2, 'pcm-ofb', 'accepted', sha256('x'), $6, $3, $4, $5)`, bank, id, key, party, role, api)
			if err != nil {
				return err
			}
			_, err = tx.Exec(b.t.Context(), `INSERT INTO event_runtime.books AS b (day, tenant_id, consumer, accepted) VALUES (event_runtime.event_day($2), $1, 'pcm-ofb', 1)
				ON CONFLICT (day, tenant_id, consumer) DO UPDATE SET accepted = b.accepted + 1`, bank, id)
			if err != nil {
				return err
			}
			b.events = append(b.events, id)
			arrivals = append(arrivals, submit.Arrival{Tenant: bank, Ecosystem: event.OFB, EventID: id, Report: submit.Report{API: api, Submitter: party, Party: party, Role: role,
				InteractionID: event.ID(interaction), Deadline: ofb.Deadline(at), Bytes: 500}})
		}
		return submit.AddChunks(b.t.Context(), tx, at.Add(-time.Second), arrivals)
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *bench) inject(faults ...simulator.Fault) *bench {
	for _, f := range faults {
		if f.Operation == "" {
			f.Operation = simulator.OnReport
		}
		b.regulator.Inject(f)
	}
	return b
}

// work lets the desk do what is due in every lane.
func (b *bench) work() *bench {
	b.t.Helper()
	lanes, err := b.desk.Lanes(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, lane := range lanes {
		if reason, _ := lane.Policy.Due(lane.Level, b.clock.now()); lane.Blocked || lane.Sealed == 0 && !reason.Due() {
			continue
		}
		if _, err := b.desk.Work(b.t.Context(), lane); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

// settle moves time on until nothing is in doubt or due any more: what is sent,
// asked and sent again happens at its own moment.
func (b *bench) settle() *bench {
	b.t.Helper()
	for range 60 {
		b.clock.forward(5 * time.Second)
		b.regulator.Tick()
		b.work()
		if err := b.desk.AskDue(b.t.Context(), rate.NewLimiter(rate.Inf, 1)); err != nil {
			b.t.Fatal(err)
		}
	}
	return b
}

// states counts the batches by state.
func (b *bench) states() map[string]int {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `SELECT state, count(*)::int FROM event_runtime.export_batches GROUP BY state`)
	if err != nil {
		b.t.Fatal(err)
	}
	found := map[string]int{}
	var state string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&state, &n}, func() error { found[state] = n; return nil }); err != nil {
		b.t.Fatal(err)
	}
	return found
}

func (b *bench) wantStates(want map[submit.State]int) *bench {
	b.t.Helper()
	got, wanted := fmt.Sprint(b.states()), map[string]int{}
	for state, n := range want {
		wanted[string(state)] = n
	}
	if got != fmt.Sprint(wanted) {
		b.t.Fatalf("got batches %s, want %v", got, wanted)
	}
	return b
}

// codes are what the attempts came to.
func (b *bench) codes() string {
	b.t.Helper()
	rows, err := b.pool.Query(b.t.Context(), `SELECT DISTINCT outcome || '/' || code FROM event_runtime.submission_attempts ORDER BY 1`)
	if err != nil {
		b.t.Fatal(err)
	}
	codes, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.Join(codes, " ")
}

func (b *bench) count(sql string, args ...any) (n int) {
	b.t.Helper()
	if err := b.db.Pool("superuser").QueryRow(b.t.Context(), sql, args...).Scan(&n); err != nil {
		b.t.Fatal(err)
	}
	return n
}

// wantEachReportedOnce is the oracle: the books balance, and the regulator holds
// each of so many reports exactly once.
func (b *bench) wantEachReportedOnce(stored int) {
	b.t.Helper()
	b.wantWhole()
	ledger := b.regulator.Ledger(simulator.Keys)
	if ledger.Totals.Duplicates != 0 || int(ledger.Totals.Stored) != stored {
		b.t.Fatalf("the regulator holds %d reports and %d of them twice, want %d", ledger.Totals.Stored, ledger.Totals.Duplicates, stored)
	}
}

func (b *bench) wantWhole() {
	b.t.Helper()
	report, err := verify.Run(b.t.Context(), b.db.Pool("runtime_readonly"), verify.Options{Split: map[string]func(string, []byte) ([][]byte, error){event.OFB: ofb.Split}})
	if err != nil {
		b.t.Fatal(err)
	}
	if report.Exit != verify.Whole {
		b.t.Fatalf("verify: exit %d, %v", report.Exit, report.Broken)
	}
}

func (b *bench) lane() flush.Lane {
	b.t.Helper()
	lanes, err := b.desk.Lanes(b.t.Context())
	if err != nil || len(lanes) != 1 {
		b.t.Fatalf("got lanes %v, %v, want one", lanes, err)
	}
	return lanes[0]
}
