package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/testenv"
	"github.com/finnest/event-runtime/internal/transport"
)

func TestAnswers(t *testing.T) {
	t.Parallel()
	r := newRig(t, config(func(c *Config) { c.BatchSize = 1 }))
	good := call{method: http.MethodPost, token: token, body: batch(message())}
	with := func(change func(*call)) call { c := good; change(&c); return c }
	header := func(name, value string) call {
		return with(func(c *call) { c.header = map[string]string{name: value} })
	}
	body := func(text string) call { return with(func(c *call) { c.body = text }) }
	stored := 0
	for name, tc := range map[string]struct {
		call   call
		status int
		code   string
	}{
		"GET":                    {with(func(c *call) { c.method = http.MethodGet }), 405, "method_not_allowed"},
		"no token":               {header("Authorization", "-"), 401, "token_missing"},
		"an empty token":         {header("Authorization", "Bearer "), 401, "token_unknown"}, // Sequin's, where its variable is not set
		"nobody's token":         {with(func(c *call) { c.token = token[1:] }), 401, "token_unknown"},
		"another scheme":         {header("Authorization", "Basic "+token), 401, "token_unknown"},
		"a form":                 {header("Content-Type", "application/x-www-form-urlencoded"), 415, "unsupported_media"},
		"compressed":             {header("Content-Encoding", "gzip"), 415, "unsupported_media"},
		"no body":                {body(""), 400, "unreadable"},
		"a list":                 {body("[" + message() + "]"), 400, "unreadable"},
		"half of it":             {body(batch(message())[:90]), 400, "unreadable"},
		"too many bytes":         {body(batch(message("1.0", `"`+strings.Repeat("x", 513<<10)+`"`))), 413, "too_large"},
		"too many rows":          {body(batch(slices.Repeat([]string{"1"}, 1001)...)), 422, "count_out"},
		"no rows":                {body(batch()), 200, ""},
		"a batch":                {body(batch(message())), 200, ""},
		"a bare message":         {body(message()), 200, ""},
		"more rows than planned": {body(batch(messages(7)...)), 200, ""},
	} {
		got := r.do(tc.call)
		if got.status != tc.status || got.code() != tc.code {
			t.Errorf("%s: got %d %s, want %d %s", name, got.status, got.code(), tc.status, tc.code)
		}
		if tc.status != 200 && (got.header.Get("Content-Type") != "application/problem+json" || got.problem.Title == "" || got.header.Get("Retry-After") != "") {
			t.Errorf("%s: got %v %+v, want a problem, and no time to wait", name, got.header, got.problem)
		}
		stored += got.told.Stored
	}
	r.wantStored(9)
	if stored != 9 {
		t.Errorf("told of %d stored rows, want 9", stored)
	}
	if strings.Contains(r.log.String(), token) || r.log.count("bridge.refused") == 0 {
		t.Errorf("want each refusal told, and no token: %s", r.log.String())
	}
}

// A row that can never be published is set aside, and its neighbours are stored.
// The same batch again changes nothing.
func TestABadRowHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	large := message("1.0", `"`+strings.Repeat("x", 600<<10)+`"`)      // more than a stream takes
	larger := message("1.0", `"`+strings.Repeat("x", 1200<<10)+`"`)    // more than the server takes
	long := message("consent.advanced", "c."+strings.Repeat("x", 255)) // more than a subject has
	secret := message(`"insert"`, `"update"`, `"n":1.0`, `"cpf":"529.982.247-25"`)
	all := batch(message(), large, message(), larger, `{a}`, message(), long, secret, message("consent.advanced", "interaction.completed"))
	for n, want := range []reply{{}, {}} {
		want.told.Rows, want.told.Quarantined = 9, 5
		if want.told.Stored = 4; n > 0 {
			want.told.Stored, want.told.Duplicates = 0, 4
		}
		if got := r.post(all); got.status != 200 || got.told != want.told {
			t.Errorf("time %d: got %d %+v, want %+v", n, got.status, got.told, want.told)
		}
	}
	r.wantStored(4)
	got := r.aside()
	slices.Sort(got)
	want := []string{"bridge schema_invalid", "bridge unreadable", "relay schema_invalid", "relay too_large", "relay too_large"}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	var values string
	if err := r.Conn(testenv.Superuser).QueryRow(t.Context(), `SELECT string_agg(q::text, ' ') FROM event_runtime.quarantine q`).Scan(&values); err != nil || strings.Contains(values+r.log.String(), "529.982") {
		t.Errorf("a value was kept or logged: %v %s %s", err, values, r.log.String())
	}
	if err := quarantine.Announce(t.Context(), r.Pool("runtime_worker"), r.js); err != nil {
		t.Fatal(err)
	}
	s, err := r.js.Stream(t.Context(), transport.DLQ)
	if err != nil || s.CachedInfo().State.Msgs != 5 {
		t.Errorf("got %v, %v, want 5 dead letters", s, err)
	}
}

// Whatever keeps JetStream from storing a row: the batch is not delivered, and
// once the cause is gone it is, each row once.
func TestWhatIsNotStoredIsNotDelivered(t *testing.T) {
	t.Parallel()
	resize := func(r *rig, bytes int64) {
		s, err := r.js.Stream(r.t.Context(), transport.Events)
		if err != nil {
			r.t.Fatal(err)
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes = bytes
		if _, err := r.js.UpdateStream(r.t.Context(), cfg); err != nil {
			r.t.Fatal(err)
		}
	}
	for name, tc := range map[string]struct{ harm, mend func(r *rig) }{
		"the server is away": {func(r *rig) { r.nats.Stop() }, func(r *rig) { r.nats.Start() }},
		"the stream is full": {func(r *rig) { resize(r, 100) }, func(r *rig) { resize(r, 64<<20) }},
		"there is no stream": {func(r *rig) {
			if err := r.js.DeleteStream(r.t.Context(), transport.Events); err != nil {
				r.t.Fatal(err)
			}
		}, (*rig).provision},
		"another stream has taken its subjects": {func(r *rig) {
			if err := r.js.DeleteStream(r.t.Context(), transport.Events); err != nil {
				r.t.Fatal(err)
			}
			cfg := transport.Streams(transport.Limits{EventsBytes: 1 << 20, InteractionsBytes: 1 << 20, DLQBytes: 1 << 20})[1]
			cfg.Name, cfg.SubjectTransform = "STRAY", nil
			if _, err := r.js.CreateStream(r.t.Context(), cfg); err != nil {
				r.t.Fatal(err)
			}
		}, func(r *rig) {
			if err := r.js.DeleteStream(r.t.Context(), "STRAY"); err != nil {
				r.t.Fatal(err)
			}
			r.provision()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, config(func(c *Config) { c.AckTimeout, c.Timeout = 3*time.Second, 20*time.Second }))
			all := batch(append(messages(20), `{}`)...)
			tc.harm(r)
			for range 2 {
				if got := r.post(all); got.status != 503 || got.code() != "not_stored" || got.header.Get("Retry-After") != "" {
					t.Fatalf("got %d %s %v, want 503 not_stored, without a time to wait", got.status, got.code(), got.header)
				}
			}
			if got := r.aside(); len(got) != 0 {
				t.Errorf("got %v set aside of a batch that was not delivered", got)
			}
			tc.mend(r)
			r.until("the batch is delivered", func() bool { return r.post(all).status == 200 })
			r.wantStored(20)
			if told, over := r.log.count("bridge.failed"), r.log.count("bridge.recovered"); told != 1 || over != 1 {
				t.Errorf("told %d times of the failure and %d of its end, want once: %s", told, over, r.log.String())
			}
		})
	}
}

func (r *rig) until(what string, is func() bool) {
	r.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	late := time.NewTimer(patience)
	defer late.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-late.C:
			r.t.Fatalf("after %v still not: %s", patience, what)
		}
	}
}

// A row that cannot be set aside is not delivered either, and the cause is told
// without what it was about.
func TestTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	r := newRig(t, proxied)
	all := batch(message(), `{}`)
	r.proxy.Refuse()
	if got := r.post(all); got.status != 503 || got.code() != "not_parked" {
		t.Errorf("got %d %s, want 503 not_parked", got.status, got.code())
	}
	if got := r.post(batch(message())); got.status != 200 {
		t.Errorf("got %d for a batch that needs no database, want 200", got.status)
	}
	r.proxy.Accept()
	r.until("the batch is delivered", func() bool { return r.post(all).status == 200 })
	r.wantStored(2)
	if got := r.aside(); !slices.Equal(got, []string{"bridge schema_invalid"}) {
		t.Errorf("got %v", got)
	}
}

// Many requests share few places: all are served, and each row is stored once.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, config(func(c *Config) { c.Parallel, c.InFlight = 2, 8 }))
	var group sync.WaitGroup
	const requests, rows = 12, 50
	for range requests {
		group.Go(func() {
			all := batch(messages(rows)...)
			for range 10 { // a busy machine may take longer than one request may
				got, err := r.try(call{method: http.MethodPost, token: token, body: all})
				if err != nil || got.status == 200 {
					if err != nil {
						t.Error(err)
					}
					return
				}
			}
			t.Error("a batch was refused ten times")
		})
	}
	group.Wait()
	r.wantStored(requests * rows)
}

// Who finds no place in time is told so, and nothing of its batch is published.
func TestNoPlaceInTime(t *testing.T) {
	t.Parallel()
	r := newRig(t, config(func(c *Config) { c.Parallel, c.AckTimeout, c.Timeout = 1, 2*time.Second, 3*time.Second }))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := make(chan struct{})
	slow := &slowly{begun: begun, until: ctx.Done()}
	done := make(chan struct{})
	go func() {
		defer close(done)
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url, slow)
		if err != nil {
			t.Error(err)
			return
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+token)
		if res, err := client.Do(req); err == nil {
			_ = res.Body.Close()
		}
	}()
	<-begun
	r.until("the only place is taken", func() bool {
		got := r.post(batch(message()))
		return got.status == 503 && got.code() == "busy" // on a busy machine an acknowledgement may be late, too
	})
	before := r.inStreams()
	if got := r.post(batch(message())); got.status != 503 {
		t.Errorf("got %d, want 503", got.status)
	}
	r.wantStored(before)
	cancel()
	<-done
	r.until("there is a place again", func() bool { return r.post(batch(message())).status == 200 })
}

// slowly is a body that begins and does not end.
type slowly struct {
	begun chan<- struct{}
	until <-chan struct{}
	once  sync.Once
}

func (s *slowly) Read(b []byte) (int, error) {
	first := false
	s.once.Do(func() { first = true })
	if first {
		close(s.begun)
		return copy(b, `{"data":[`), nil
	}
	<-s.until
	return 0, errors.New("gone")
}

// A token is exchanged without a moment in which neither is good; one that is
// taken away is bad within seconds, and that is told once.
func TestTokensAreExchanged(t *testing.T) {
	t.Parallel()
	const next = "bridge-token-of-tomorrow-0123456789-01"
	r := newRig(t, func(r *rig, c *Config) {
		r.write("next", next)
		c.TokenRefs = append(c.TokenRefs, r.ref("next"))
	})
	status := func(token string) int {
		return r.do(call{method: http.MethodPost, token: token, body: batch(message())}).status
	}
	if a, b := status(token), status(next); a != 200 || b != 200 {
		t.Errorf("got %d and %d, want both good", a, b)
	}
	if err := os.Remove(filepath.Join(r.dir, "token")); err != nil {
		t.Fatal(err)
	}
	if a := status(token); a != 200 {
		t.Errorf("got %d before anybody looks", a)
	}
	for range 2 {
		r.clock.advance(lookEvery)
		if a, b := status(token), status(next); a != 401 || b != 200 {
			t.Errorf("got %d and %d, want the first one bad", a, b)
		}
	}
	if told := r.log.count("bridge.token_refused"); told != 1 || strings.Contains(r.log.String(), next) {
		t.Errorf("told %d times, want once and no token: %s", told, r.log.String())
	}
}

// What cannot be a token is refused at the start.
func TestTokensThatCannotBe(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "short"), []byte(token[:31]), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "open"), []byte(token), 0o644); err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"file:" + filepath.Join(dir, "short"): "shorter than 32 bytes", "file:" + filepath.Join(dir, "open"): "others can read",
		"file:" + filepath.Join(dir, "none"): "no such file", "env:NO_SUCH_TOKEN_OF_A_BRIDGE": "is not set",
	} {
		if _, err := New(Config{TokenRefs: []string{ref}}, Deps{Now: time.Now}); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "BRIDGE_TOKEN_REFS") {
			t.Errorf("%s: got %v, want %q", ref, err, want)
		}
	}
}

func TestConfigThatCannotWork(t *testing.T) {
	t.Parallel()
	good := Config{TokenRefs: []string{"env:A", "file:/b"}, BatchSize: 1000, MaxMessage: 512 << 10, Parallel: 1, InFlight: 1, AckTimeout: time.Second, Timeout: 29 * time.Second}
	if name, why := good.Check(); why != "" || !good.On() || (Config{}).On() {
		t.Errorf("got %s: %s, %v", name, why, good.On())
	}
	for want, harm := range map[string]func(*Config){
		"TOKEN_REFS":        func(c *Config) { c.TokenRefs = []string{token} },
		"BATCH_SIZE":        func(c *Config) { c.BatchSize = 1001 },
		"MAX_MESSAGE_BYTES": func(c *Config) { c.MaxMessage = 512<<10 - 1 },
		"ACK_TIMEOUT":       func(c *Config) { c.AckTimeout = 29 * time.Second },
		"TIMEOUT":           func(c *Config) { c.Timeout = 30 * time.Second },
	} {
		c := good
		harm(&c)
		if name, why := c.Check(); name != want || why == "" || strings.Contains(fmt.Sprint(name, why), token) {
			t.Errorf("got %s: %s, want %s", name, why, want)
		}
	}
}
