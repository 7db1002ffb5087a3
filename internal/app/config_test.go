package app

import (
	"context"
	"maps"
	"reflect"
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/sethvargo/go-envconfig"
)

func TestMain(m *testing.M) { testenv.Main(m) }

// needed is the least that a process can be started with.
var needed = map[string]string{"DATABASE_URL": "postgres://runtime_worker@localhost/runtime", "NATS_URL": "nats://localhost:4222",
	"RELAY_DATABASE_URL": "postgres://runtime_relay@localhost/runtime"}

func with(name, value string) envconfig.Lookuper {
	all := maps.Clone(needed)
	all[name] = value
	return envconfig.MapLookuper(all)
}

// a reader reads one of the two configurations.
type reader func(context.Context, envconfig.Lookuper) error

var readers = map[string]struct {
	read reader
	of   reflect.Type
}{
	"serve": {func(ctx context.Context, l envconfig.Lookuper) error { _, err := Read(ctx, l); return err }, reflect.TypeFor[Config]()},
	"relay": {func(ctx context.Context, l envconfig.Lookuper) error { _, err := ReadRelay(ctx, l); return err }, reflect.TypeFor[RelayConfig]()},
}

// variables lists the names and types of a configuration.
func variables(of reflect.Type, prefix string, into map[string]reflect.Type) map[string]reflect.Type {
	for field := range of.Fields() {
		name, options, _ := strings.Cut(field.Tag.Get("env"), ",")
		if name == "" {
			_, below, _ := strings.Cut(options, "prefix=")
			variables(field.Type, prefix+below, into)
			continue
		}
		into[prefix+name] = field.Type
	}
	return into
}

func TestTheLeastIsEnough(t *testing.T) {
	t.Parallel()
	for name, r := range readers {
		if err := r.read(t.Context(), envconfig.MapLookuper(needed)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	cfg, err := Read(t.Context(), envconfig.MapLookuper(needed))
	if err != nil || cfg.Instance == "" {
		t.Errorf("got instance %q, %v, want a name of its own", cfg.Instance, err)
	}
}

// Whatever cannot be read or cannot work is refused at the start, by name.
func TestEveryNumberIsRefusedByName(t *testing.T) {
	t.Parallel()
	for command, r := range readers {
		checked := 0
		for name, kind := range variables(r.of, "", map[string]reflect.Type{}) {
			var bad []string
			switch {
			case kind.String() == "time.Duration":
				bad = []string{"soon", "-1s"}
			case kind.Kind() == reflect.Bool:
				bad = []string{"perhaps"}
			case kind.Kind() == reflect.Slice:
				bad = []string{"soon", "-1s"}
			case kind.Kind() != reflect.String:
				bad = []string{"many", "-1", "1.5"}
			}
			if !mayBeZero[name] && bad != nil && kind.Kind() != reflect.Bool {
				bad = append(bad, "0")
			}
			for _, value := range bad {
				checked++
				if err := r.read(t.Context(), with(name, value)); err == nil || !strings.Contains(err.Error(), name) {
					t.Errorf("%s: %s=%s: got %v, want it refused by name", command, name, value, err)
				}
			}
		}
		if checked < 15 {
			t.Errorf("%s: only %d values tried", command, checked)
		}
	}
}

func TestMayBeZeroNamesVariables(t *testing.T) {
	t.Parallel()
	all := variables(reflect.TypeFor[Config](), "", map[string]reflect.Type{})
	for name := range mayBeZero {
		if all[name] == nil {
			t.Errorf("%s is no variable", name)
		}
		if err := readers["serve"].read(t.Context(), with(name, "0")); err != nil {
			t.Errorf("%s=0: %v", name, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ command, variable, value, want string }{
		"no database":                      {"serve", "DATABASE_URL", "", "DATABASE_URL: is not a database address"},
		"no database to relay from":        {"relay", "RELAY_DATABASE_URL", "", "RELAY_DATABASE_URL: is not a database address"},
		"a bad address":                    {"serve", "DATABASE_URL", "postgres://u:hunter2@h:x/d", "DATABASE_URL: is not a database address"},
		"a bad address for maintenance":    {"serve", "MAINTENANCE_DATABASE_URL", "postgres://u:hunter2@%%", "MAINTENANCE_DATABASE_URL: is not a database address"},
		"a bad address for the relay":      {"relay", "RELAY_DATABASE_URL", "postgres://u:hunter2@h/d?sslmode=perhaps", "RELAY_DATABASE_URL: is not a database address"},
		"a level that does not exist":      {"serve", "LOG_LEVEL", "loud", "LOG_LEVEL: want"},
		"and for the relay":                {"relay", "LOG_LEVEL", "loud", "LOG_LEVEL: want"},
		"a format that does not exist":     {"serve", "LOG_FORMAT", "xml", "LOG_FORMAT: want json or console"},
		"and for the relay too":            {"relay", "LOG_FORMAT", "xml", "LOG_FORMAT: want json or console"},
		"a bad address for producers":      {"serve", "PRODUCER_DATABASE_URL", "postgres://u:hunter2@%%", "PRODUCER_DATABASE_URL: is not a database address"},
		"a token in place of a reference":  {"serve", "BRIDGE_TOKEN_REFS", "hunter2", "BRIDGE_TOKEN_REFS: want references"},
		"rows that Sequin never sends":     {"serve", "BRIDGE_BATCH_SIZE", "1001", "BRIDGE_BATCH_SIZE: want 1 to 1000"},
		"an answer that comes too late":    {"serve", "BRIDGE_TIMEOUT", "30s", "BRIDGE_TIMEOUT: must be shorter than 30s"},
		"more events than an answer holds": {"serve", "INTAKE_MAX_EVENTS", "10001", "INTAKE_MAX_EVENTS: want 1 to 10000"},
		"too large a batch":                {"serve", "CONSUMER_BATCH_SIZE", "2049", "CONSUMER_BATCH_SIZE: want 1 to 2048"},
		"too short a lease":                {"serve", "LEASE_TTL", "999ms", "LEASE_TTL: want at least 1s"},
		"too few connections":              {"serve", "DATABASE_CONNS", "3", "DATABASE_CONNS: want at least 4"},
		"given up before it is answered":   {"serve", "SUBMIT_UNCONFIRMED_AFTER", "30s", "UNCONFIRMED_AFTER must be longer than EXCHANGE_TIMEOUT"},
		"retries that get shorter":         {"serve", "SUBMIT_RETRY_MOST", "500ms", "RETRY_MOST at least RETRY_BASE"},
		"questions that go back in time":   {"serve", "SUBMIT_ASK_AFTER", "5m,2m", "ASK_AFTER must ascend"},
		"questions that are asked at once": {"serve", "SUBMIT_ASK_AFTER", "5m,5m", "ASK_AFTER must ascend"},
	} {
		err := readers[tc.command].read(t.Context(), with(tc.variable, tc.value))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: got %v, want %q", name, err, tc.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the password is in %v", name, err)
		}
	}
}

func TestAllThatIsWrongIsToldAtOnce(t *testing.T) {
	t.Parallel()
	all := maps.Clone(needed)
	for name, value := range map[string]string{"LOG_FORMAT": "xml", "LEASE_TTL": "1ms", "FLUSH_PARALLEL": "0", "OFB_LOOKUP_TIMEOUT": "-1s"} {
		all[name] = value
	}
	_, err := Read(t.Context(), envconfig.MapLookuper(all))
	for _, name := range []string{"LOG_FORMAT", "LEASE_TTL", "FLUSH_PARALLEL", "OFB_LOOKUP_TIMEOUT"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("got %v, want %s in it", err, name)
		}
	}
}

func TestPoolBoundsTransactionsUnlessTheAddressSaysOtherwise(t *testing.T) {
	t.Parallel()
	db := testenv.Postgres(t)
	for name, tc := range map[string]struct{ more, want string }{
		"as usual":          {"", "1min"},
		"the address knows": {"idle_in_transaction_session_timeout=7s", "7s"},
	} {
		address := db.URL("runtime_worker")
		if tc.more != "" {
			join := "?"
			if strings.Contains(address, "?") {
				join = "&"
			}
			address += join + tc.more
		}
		pool, err := Pool(t.Context(), address, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer pool.Close()
		var timeout, zone string
		if err := pool.QueryRow(t.Context(), `SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('timezone')`).Scan(&timeout, &zone); err != nil {
			t.Fatal(err)
		}
		if timeout != tc.want || zone != "UTC" || pool.Config().MaxConns != 4 {
			t.Errorf("%s: got %s, %s, %d connections", name, timeout, zone, pool.Config().MaxConns)
		}
	}
}
