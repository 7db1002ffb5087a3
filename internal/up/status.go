package up

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/finnest/event-runtime/internal/demo"
)

const statusEvery = 5 * time.Second

// welcome says where everything is and what to try.
func (m *machine) welcome() {
	fmt.Fprintf(m.say, `
everything is running; data is in %s
  postgres   %s   (log %s)
  nats       nats://%s
  worker     http://%s/readyz  /metrics
  regulator  https://%s (tokens)  https://%s (reports)  http://%s/_ledger
`, m.dir, on(m.ports.postgres), m.postgres.LogPath(), on(m.ports.nats), on(m.ports.http), on(m.ports.auth), on(m.ports.api), on(m.ports.control))
	if m.opt.Demo {
		fmt.Fprintf(m.say, "  banks      http://%s/%s/open-banking/...  %g events a second\n", on(m.ports.bank), demo.Banks()[0].Tenant, m.opt.Rate)
	}
	if m.opt.Chaos != "" {
		fmt.Fprintf(m.say, "  chaos      %s, seed %d\n", m.opt.Chaos, m.opt.Seed)
	}
	fmt.Fprintf(m.say, `logs of the processes are in %s/run/log
try
  VERIFY_DATABASE_URL='%s' %s verify
  curl -s http://%s/_ledger
  curl -s http://%s/metrics | grep event_runtime_
stop with Ctrl-C; the same directory continues where it stopped

`, m.dir, m.postgres.URL(database, "runtime_readonly"), os.Args[0], on(m.ports.control), on(m.ports.http))
}

// statusLines writes one line every few seconds until ctx ends.
func (m *machine) statusLines(ctx context.Context) {
	ticker := time.NewTicker(statusEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		var s demo.Summary
		if err := s.ReadDatabase(ctx, m.pool); err != nil {
			if ctx.Err() == nil {
				fmt.Fprintf(m.say, "%s  status unknown: %v\n", time.Now().Format(time.TimeOnly), err)
			}
			continue
		}
		fmt.Fprintf(m.say, "%s  appended %d  accepted %d  ineligible %d  quarantined %d  batches %d  receipts %d  in doubt %d\n", time.Now().Format(time.TimeOnly),
			s.Appended, s.Accepted, sum(s.Ineligible), sum(s.Quarantined), sum(s.Batches), sum(s.Receipts), s.Unconfirmed.Askable+s.Unconfirmed.NeedsPerson)
	}
}

func sum(counts map[string]int64) (total int64) {
	for _, n := range counts {
		total += n
	}
	return total
}
