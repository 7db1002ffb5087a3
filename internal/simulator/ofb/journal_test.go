package ofb

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"pgregory.net/rapid"
)

// again opens a second server on the data of the first.
func (b *bench) again(cfg Config) {
	b.Helper()
	b.stop()
	cfg.Now = b.clock.now
	sim, err := New(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.run(sim)
}

func TestRestartForgetsNothingAndDoublesNothing(t *testing.T) {
	t.Parallel()
	cfg := Config{DataDir: t.TempDir(), Seed: 3, Counterparty: Counterparty{Mode: Late}}
	b := start(t, cfg)
	b.sim.Inject(Fault{Operation: OnReport, Kind: LoseAnswer, Times: 1})
	b.report(araucaria, b.call(someID))
	b.report(araucaria, b.call(someID), b.call(uuid.NewString()).with("endpoint", "/nowhere\"é"))
	b.post(araucaria, "no array")
	before, pki := b.sim.Ledger(Keys, Requests, Days), b.sim.PKI()
	files, _ := pki.Of(araucaria)
	cert, _ := os.ReadFile(files.Certificate)

	b.again(cfg)
	after := b.sim.Ledger(Keys, Requests, Days)
	before.Totals.Tokens = 0 // counted since the start
	if !reflect.DeepEqual(before, after) {
		t.Errorf("got %+v\nwant %+v", after, before)
	}
	if now, _ := os.ReadFile(files.Certificate); string(now) != string(cert) || !reflect.DeepEqual(b.sim.PKI(), pki) {
		t.Error("the client files changed")
	}
	// The token of the first server is still good, and so are the due times.
	r := b.report(araucaria, b.call(uuid.NewString()))
	b.wantReceipts(r, http.StatusOK, "ACCEPTED")
	b.settle()
	b.clock.advance(defaultLate)
	b.wantState(araucaria, someID, "PAIRED")
	seen := map[string]bool{}
	for _, k := range b.sim.Ledger(Keys).Keys {
		for _, a := range k.Arrivals {
			if seen[a.ReportID] {
				t.Errorf("report id %s was given twice", a.ReportID)
			}
			seen[a.ReportID] = true
		}
	}
}

func TestDamagedJournals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		damage func(string) string
		stored int64 // -1: refuses to start
	}{
		"a torn last line is cut off":               {func(s string) string { return s + `{"request":9,"at":1` }, 2},
		"so is a last line that lacks only its end": {func(s string) string { return strings.TrimSuffix(s, "\n") }, 2},
		"a torn header is no journal yet":           {func(string) string { return journalHeader[:5] }, 0},
		"an empty file neither":                     {func(string) string { return "" }, 0},
		"damage in the middle stops the start":      {func(s string) string { return strings.Replace(s, `"at":`, `"at"`, 1) }, -1},
		"so does a foreign file":                    {func(string) string { return "hello\n" }, -1},
		"and an entry that is too short":            {func(s string) string { return s + `{"request":9,"at":1,"items":[[0]]}` + "\n" }, -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Config{DataDir: t.TempDir(), Seed: 3}
			b := start(t, cfg)
			b.report(araucaria, b.calls(2)...)
			b.stop()
			path := filepath.Join(cfg.DataDir, "journal.jsonl")
			raw, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(c.damage(string(raw))), 0o600); err != nil {
				t.Fatal(err)
			}
			if c.stored < 0 {
				sim, _ := New(cfg)
				if err := sim.Run(t.Context()); err == nil {
					t.Error("Run accepted the journal")
				}
				return
			}
			b.again(cfg)
			if got := b.sim.Ledger().Totals.Stored; got != c.stored {
				t.Errorf("got %d stored, want %d", got, c.stored)
			}
			b.report(araucaria, b.call(someID))
			b.again(cfg)
			if got := b.sim.Ledger().Totals.Stored; got != c.stored+1 {
				t.Errorf("got %d stored after one more, want %d", got, c.stored+1)
			}
		})
	}
}

func TestTwoServersDoNotShareAJournal(t *testing.T) {
	t.Parallel()
	b := start(t, Config{DataDir: t.TempDir()})
	second, err := New(b.sim.cfg)
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("got %v, want a refusal", err)
	}
}

func TestAFullJournalStoresNothing(t *testing.T) {
	t.Parallel()
	b := start(t, Config{DataDir: t.TempDir()})
	b.token(araucaria)
	if err := b.sim.store.journal.close(); err != nil {
		t.Fatal(err)
	}
	b.wantMessage(b.report(araucaria, b.call(someID)), http.StatusInternalServerError, "Internal Server Error")
	if got := b.sim.Ledger().Totals; got.Stored != 0 || got.Requests != 0 {
		t.Errorf("got %+v, want nothing", got)
	}
	b.sim.store.journal.file, _ = os.Open(os.DevNull) // Run closes it once more
}

// TestReloadIsTheSameStore plays any sequence of requests and reads it back.
func TestReloadIsTheSameStore(t *testing.T) {
	t.Parallel()
	dir, n := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		n++
		path := filepath.Join(dir, fmt.Sprint(n))
		clock := &fakeClock{t: epoch}
		cfg := Config{Seed: 5, VisibilityDelay: time.Second}
		open := func() (*store, func() error) {
			s := newStore(cfg, newClock(clock.now))
			done, err := s.openJournal(path)
			if err != nil {
				t.Fatal(err)
			}
			return s, done
		}
		s, done := open()
		ids := []uuid.UUID{uuid.New(), uuid.New()}
		for range rapid.IntRange(1, 12).Draw(t, "requests") {
			r := anyRecord(t, ids, clock.now())
			if err := s.record(&r); err != nil {
				t.Fatal(err)
			}
			if rapid.Bool().Draw(t, "answered") {
				_ = s.answered(r.number)
			}
			clock.advance(time.Duration(rapid.IntRange(0, 3).Draw(t, "wait")) * 700 * time.Millisecond)
			if rapid.Bool().Draw(t, "tick") {
				s.settle()
			}
		}
		want := everything(s)
		s.wantSound(t)
		if err := done(); err != nil {
			t.Fatal(err)
		}
		again, done := open()
		if got := everything(again); got != want {
			t.Fatalf("got\n%s\nwant\n%s", got, want)
		}
		_ = done()
	})
}

func anyRecord(t *rapid.T, ids []uuid.UUID, now time.Time) record {
	r := record{org: uuid.MustParse(araucaria), http: unplanned}
	for range rapid.IntRange(0, 4).Draw(t, "items") {
		e := entry{report: report{
			role: rapid.SampledFrom([]role{client, server}).Draw(t, "role"), interaction: rapid.SampledFrom(ids).Draw(t, "id"),
			client: uuid.MustParse(araucaria), server: uuid.MustParse(ipe), endpoint: accountsEndpoint, method: "GET",
			status: rapid.SampledFrom([]int{200, 500}).Draw(t, "status"), timestamp: now.Truncate(time.Millisecond), timespan: 1.5,
		}}
		e.state = rapid.SampledFrom([]state{accepted, accepted, accepted, discarded, notStored}).Draw(t, "state")
		e.later = e.state == accepted && rapid.IntRange(0, 5).Draw(t, "later") == 0
		if e.state == discarded {
			e.message = rapid.String().Draw(t, "message")
			e.role = rapid.SampledFrom([]role{noRole, client}).Draw(t, "unread")
		}
		r.items = append(r.items, e)
	}
	return r
}

func everything(s *store) string {
	l := s.summary()
	s.eachKey(false, uuid.Nil, func(k KeyRow) bool { l.Keys = append(l.Keys, k); return true })
	s.eachRequest(func(r RequestRow) bool { l.Requests = append(l.Requests, r); return true })
	l.Days = s.days()
	text, _ := json.MarshalIndent(l, "", " ")
	return string(text)
}

// wantSound recounts from the copies what the store counts as it goes, and checks
// that pairs are mutual and of two roles.
func (s *store) wantSound(t *rapid.T) {
	held, doubled := map[key]int{}, int64(0)
	var counts [stateCount]int64
	for i := range s.arrivals.n {
		a := s.arrivals.at(i)
		counts[a.state]++
		if a.state.held() {
			k := key{a.interaction, s.orgID(a.party), a.role}
			if held[k]++; held[k] == 2 {
				doubled++
			}
		}
		if isPair := a.state == paired || a.state == inconsistent; isPair != (a.partner != none) {
			t.Fatalf("copy %d is %v with partner %d", i, a.state, a.partner)
		} else if isPair {
			if b := s.arrivals.at(a.partner); b.partner != i || b.role != a.role.other() || b.state != a.state {
				t.Fatalf("copy %d has partner %+v", i, b)
			}
		}
	}
	if counts != s.counts || doubled != s.duplicates {
		t.Fatalf("got counts %v and %d duplicates, want %v and %d", s.counts, s.duplicates, counts, doubled)
	}
}

// TestKillNine kills a simulator of its own process while clients are writing to it,
// and compares what they were answered with what the next process knows.
func TestKillNine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	receipts := map[string]string{} // report id to interaction id
	sent := map[string]int{}
	for round := range 3 {
		at, kill := spawn(t, dir)
		var mu sync.Mutex
		var all sync.WaitGroup
		enough := make(chan struct{})
		b := &bench{T: t, clock: &fakeClock{t: time.Now()}, tokens: map[string]string{}, sim: &Server{pki: at.PKI, urls: urls{at.AuthURL, at.APIURL, at.ControlURL}}}
		token, client := b.token(araucaria), b.client("")
		for range 3 {
			all.Go(func() {
				for n := 0; ; n++ {
					items := b.calls(20)
					body, _ := json.Marshal(items)
					req := b.request(http.MethodPost, at.APIURL+reportsPath, jsonType, string(body))
					req.Header.Set("Authorization", "Bearer "+token)
					r := exchange(client, req)
					mu.Lock()
					_ = json.Unmarshal(r.body, &r.receipts)
					for i, item := range items {
						id, _ := item["fapiInteractionId"].(string)
						sent[id]++
						if r.err == nil {
							receipts[r.receipts[i].ReportID] = id
						}
					}
					if len(receipts) > (round+1)*200 {
						select {
						case <-enough:
						default:
							close(enough)
						}
					}
					mu.Unlock()
					if r.err != nil {
						return
					}
				}
			})
		}
		<-enough
		kill()
		all.Wait()
	}
	at, kill := spawn(t, dir)
	defer kill()
	var l Ledger
	b := &bench{T: t, sim: &Server{urls: urls{control: at.ControlURL}}}
	if err := json.Unmarshal(b.control(http.MethodGet, "/_ledger?keys=1", "").body, &l); err != nil {
		t.Fatal(err)
	}
	known := map[string]string{}
	for _, k := range l.Keys {
		if k.Arrived != 1 || sent[k.FapiInteractionID] != 1 {
			t.Errorf("%s arrived %d times, want once", k.FapiInteractionID, k.Arrived)
		}
		known[k.Arrivals[0].ReportID] = k.FapiInteractionID
	}
	for id, interaction := range receipts {
		if known[id] != interaction {
			t.Errorf("receipt %s of %s is forgotten", id, interaction)
		}
	}
	if l.Totals.Duplicates != 0 || int(l.Totals.Stored) > len(sent) || int(l.Totals.Stored) < len(receipts) {
		t.Errorf("got %+v, want at least %d and at most %d stored", l.Totals, len(receipts), len(sent))
	}
}

// spawn starts this test binary as a simulator on dir.
func spawn(t *testing.T, dir string) (at Whereabouts, kill func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &at)
	}
	if err != nil {
		t.Fatalf("the child said %q: %v", line, err)
	}
	return at, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
