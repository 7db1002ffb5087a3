package ofb

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
)

// BenchmarkItem is the cost of judging one item, with and without the second opinion.
func BenchmarkItem(b *testing.B) {
	raw, _ := json.Marshal(callAt(someID, epoch))
	v, _ := first(raw)
	caller := uuid.MustParse(araucaria)
	for _, with := range []bool{false, true} {
		b.Run(fmt.Sprintf("openapi=%v", with), func(b *testing.B) {
			r := testRules(b, with)
			b.ReportAllocs()
			b.SetBytes(int64(len(raw)))
			for b.Loop() {
				if _, message := r.judge(v, caller, epoch); message != "" {
					b.Fatal(message)
				}
			}
		})
	}
}

// BenchmarkPost is the whole way of a batch of 1000 items over TLS, journal included;
// the client is not counted out.
func BenchmarkPost(b *testing.B) {
	for _, skip := range []bool{true, false} {
		b.Run(fmt.Sprintf("openapi=%v", !skip), func(b *testing.B) {
			cfg := Config{DataDir: b.TempDir(), TokenKey: testKey(), RatePerSecond: -1, SkipOpenAPI: skip}
			sim, err := New(cfg)
			if err != nil {
				b.Fatal(err)
			}
			ended := make(chan error)
			go func() { ended <- sim.Run(b.Context()) }()
			<-sim.Ready()
			b.Cleanup(func() {
				if err := <-ended; err != nil {
					b.Error(err)
				}
			})
			const size = 1000
			g, err := sim.tokens.fresh("bench", uuid.MustParse(araucaria), time.Hour)
			if err != nil {
				b.Fatal(err)
			}
			http := clientFor(b, sim.PKI(), "")
			for b.Loop() {
				postOne(b, http, sim.APIURL(), g.token, batchOf(size, time.Now()))
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "items/s")
		})
	}
}

// batchOf makes a body quickly: the benchmark is not about the client.
func batchOf(n int, now time.Time) string {
	raw, _ := json.Marshal(callAt(someID, now))
	var body strings.Builder
	body.WriteByte('[')
	for i := range n {
		if i > 0 {
			body.WriteByte(',')
		}
		body.WriteString(strings.Replace(string(raw), someID, uuid.NewString(), 1))
	}
	body.WriteByte(']')
	return body.String()
}

func postOne(b *testing.B, c *http.Client, base, token, body string) {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, base+reportsPath, strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Content-Type", jsonType)
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := c.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, res.Body)
	if err := res.Body.Close(); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("got %d (%v)", res.StatusCode, err)
	}
}

// BenchmarkMillionReports holds the memory that a report costs, what the ledger of a
// million costs to read, and how long a restart reads the journal.
func BenchmarkMillionReports(b *testing.B) {
	const million, size = 1_000_000, 1000
	for b.Loop() {
		path := filepath.Join(b.TempDir(), uuid.NewString())
		cfg := Config{Seed: 1}
		s := newStore(cfg, newClock(nil))
		before := heap()
		done, err := s.openJournal(path)
		if err != nil {
			b.Fatal(err)
		}
		for range million / size {
			r := record{org: uuid.MustParse(araucaria), http: unplanned, items: make([]entry, size)}
			for i := range r.items {
				r.items[i].report = report{
					role: client, interaction: uuid.New(), client: r.org, server: uuid.MustParse(ipe), endpoint: accountsEndpoint,
					method: "GET", status: 200, timestamp: time.Now(), timespan: 120.5,
				}
			}
			if err := s.record(&r); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(heap()-before)/million, "B/report")
		b.ReportMetric(float64(s.journal.size)/million, "journal-B/report")
		s.clock.move(defaultVisibility)
		began := time.Now()
		s.settle()
		b.ReportMetric(time.Since(began).Seconds(), "settle-all-s")
		began = time.Now()
		s.summary()
		b.ReportMetric(float64(time.Since(began).Microseconds()), "summary-µs")
		began = time.Now()
		s.eachKey(false, uuid.Nil, func(KeyRow) bool { return true })
		b.ReportMetric(time.Since(began).Seconds(), "keys-s")
		began = time.Now()
		s.days()
		b.ReportMetric(time.Since(began).Seconds(), "days-s")
		if err := done(); err != nil {
			b.Fatal(err)
		}
		began = time.Now()
		again := newStore(cfg, newClock(nil))
		if done, err = again.openJournal(path); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(time.Since(began).Seconds(), "reload-s")
		if got := again.summary().Totals.Items; got != million {
			b.Fatalf("got %d reports after reading the journal", got)
		}
		_ = done()
		runtime.KeepAlive(s)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
