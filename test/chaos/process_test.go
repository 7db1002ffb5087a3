package chaos

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/testenv"
)

// terminate asks a process to end in order.
const terminate = syscall.SIGTERM

// hostOf is the "host:port" of one of our own addresses.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	return u.Host
}

// times are seconds here where production has minutes, and still long enough for
// a handshake on a machine that is busy. Doubt begins 6 s after the marker and is
// over by a proof 7 s after it, if a control is visible.
var times = []string{
	"LEASE_TTL=2s", "FLUSH_POLL=100ms",
	"SUBMIT_POST_WITHIN=3s", "SUBMIT_EXCHANGE_TIMEOUT=2s", "SUBMIT_UNCONFIRMED_AFTER=3s", "SUBMIT_RETRY_BASE=100ms", "SUBMIT_RETRY_MOST=1s",
	"SUBMIT_BREAKER_PAUSE=1s", "SUBMIT_ASK_AFTER=6s,6500ms,7s", "SUBMIT_ASK_AGAIN=1s", "SUBMIT_ASK_RATE=200", "SUBMIT_ASK_PERSON_SLACK=1m", "SUBMIT_ASK_SKEW=500ms",
	"SUBMIT_RECORD_RETRY_FOR=2s",
	"CONSUMER_NAK_WITHIN=2s", "CONSUMER_AWAY_PAUSE=200ms", "CONSUMER_DRAIN_FOR=5s",
	"CANARY_INTERVAL=0", // these tests count messages
	"OFB_CONNECT_TIMEOUT=3s", "OFB_HANDSHAKE_TIMEOUT=3s", "OFB_LOOKUP_TIMEOUT=2s",
}

// idle is an address that ends the transactions of a process that is stopped: after seconds here,
// where production has a minute.
func idle(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	q := u.Query()
	q.Set("idle_in_transaction_session_timeout", "3000")
	u.RawQuery = q.Encode()
	return u.String()
}

// name makes the name of an instance; no two processes of a rig share one.
func (r *rig) name(kind string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names++
	return fmt.Sprintf("%s-%d", kind, r.names)
}

// serve starts a worker. env comes last, so it wins.
func (r *rig) serve(env ...string) *testenv.Process {
	r.t.Helper()
	instance := r.name("serve")
	all := append([]string{
		"INSTANCE=" + instance, "DATABASE_URL=" + idle(r.address("runtime_worker")), "MAINTENANCE_DATABASE_URL=" + r.address("runtime_maintenance"),
		"SPOOL_DIR=" + filepath.Join(r.dir, "spool"), "NATS_URL=" + r.broker(), "HTTP_ADDR=127.0.0.1:0",
		"NATS_STREAM_INTERACTIONS_MAX_BYTES=268435456", "NATS_STREAM_EVENTS_MAX_BYTES=268435456", "NATS_STREAM_DLQ_MAX_BYTES=67108864",
		"NATS_STREAM_REPLICAS=" + strconv.Itoa(r.limits.Replicas), "NATS_STREAM_ATOMIC=" + strconv.FormatBool(r.limits.Atomic),
		"OFB_AUTH_URL=" + r.regulator.AuthURL(), "OFB_API_URL=https://" + r.proxy.Addr(), "OFB_CA_FILE=" + r.regulator.PKI().CA,
	}, times...)
	return r.start("serve", append(append(all, r.serveEnv...), env...))
}

// address is where a process finds the database: on whichever server is the
// primary, when there are two.
func (r *rig) address(role string) string {
	address := r.db.URL(role)
	if r.standby == nil {
		return address
	}
	u, err := url.Parse(address)
	if err != nil {
		panic(err)
	}
	u.Host += "," + hostOf(r.standby.URL(role))
	q := u.Query()
	q.Set("target_session_attrs", "read-write")
	u.RawQuery = q.Encode()
	return u.String()
}

// relay starts a relay.
func (r *rig) relay(env ...string) *testenv.Process {
	r.t.Helper()
	return r.start("relay", append([]string{
		"RELAY_DATABASE_URL=" + r.address("runtime_relay"), "NATS_URL=" + r.broker(), "RELAY_HTTP_ADDR=127.0.0.1:0", "RELAY_ACK_TIMEOUT=2s",
	}, env...))
}

func (r *rig) start(command string, env []string) *testenv.Process {
	r.t.Helper()
	p := testenv.Start(r.t, testenv.Binary(r.t), strings.Fields(command), append(env, r.who[command]...))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.procs = append(r.procs, p)
	return p
}

// An armed process kills itself at a point, and leaves a marker.
type armed struct {
	*testenv.Process
	r      *rig
	point  string
	marker string
}

// arm starts a command that dies when it passes the point for the nth time.
func (r *rig) arm(command, point string, nth int) *armed {
	r.t.Helper()
	a := &armed{r: r, point: point, marker: filepath.Join(r.dir, r.name("marker"))}
	env := []string{fmt.Sprintf("%s=%s:%d", crash.Env, point, nth), crash.MarkerEnv + "=" + a.marker}
	if command == "relay" {
		a.Process = r.relay(env...)
	} else {
		a.Process = r.serve(env...)
	}
	return a
}

// hit fails the test unless the process died at its point, of its own SIGKILL.
func (a *armed) hit() {
	a.r.t.Helper()
	a.ExitedWith(128 + int(syscall.SIGKILL))
	text, err := os.ReadFile(a.marker)
	if err != nil || strings.TrimSpace(string(text)) != a.point {
		a.r.t.Fatalf("point %s was not hit: marker %q, %v", a.point, text, err)
	}
}

// gone reports whether a process has ended.
func gone(p *testenv.Process) bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}
