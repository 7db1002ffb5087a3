package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"testing"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/transport"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The same events come again: under other message ids, by a consumer that begins
// from 1, and from a producer that repeats itself after midnight. No row, no batch
// and no report is new.
func TestScenario10Duplicates(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.relay()
	worker := r.serve()
	r.wave(60)
	r.quiescent()
	r.oracle()
	rows, posts := r.rows(), len(r.regulator.Ledger().Requests)
	nothingNew := func() {
		t.Helper()
		r.quiescent()
		if got := r.rows(); got != rows {
			t.Errorf("got %d rows, want the %d that were there", got, rows)
		}
		if got := len(r.regulator.Ledger().Requests); got != posts {
			t.Errorf("got %d requests at the regulator, want the %d from before", got, posts)
		}
		r.oracle()
	}
	t.Run("a backfill under other ids", func(t *testing.T) {
		r.in(t)
		r.backfill()
		nothingNew()
	})
	t.Run("the stream from 1", func(t *testing.T) {
		r.in(t)
		worker.Signal(terminate)
		worker.ExitedWith(0)
		for _, d := range transport.Durables(1) {
			if err := r.js.DeleteConsumer(t.Context(), d.Stream, d.Config.Durable); err != nil {
				t.Fatal(err)
			}
		}
		r.provision()
		r.serve()
		nothingNew()
	})
	t.Run("a producer after midnight", func(t *testing.T) {
		r.in(t)
		r.exec(`UPDATE event_runtime.settings SET test_clock = true`)
		first := r.sent[0]
		id, err := event.ParseID(first.id)
		if err != nil {
			t.Fatal(err)
		}
		err = pgx.BeginFunc(t.Context(), r.producer, func(tx pgx.Tx) error {
			if _, err := tx.Exec(t.Context(), `SELECT set_config('event_runtime.now', $1, true)`, id.Time().Add(23*time.Hour+59*time.Minute).Format(time.RFC3339)); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), sqlAppendAt, first.tenant, `{}`, first.id)
			return err
		})
		if state := new(pgconn.PgError); !errors.As(err, &state) || state.Code != "23505" {
			t.Errorf("got %v, want the id to be one row, whatever the day", err)
		}
		nothingNew()
	})
}

// partitioned is what a stream puts before the subject that was published.
var partitioned = regexp.MustCompile(`^p\.\d+\.`)

// backfill publishes every message once more, as a backfill would: as a read, and
// under an id that JetStream has not seen.
func (r *rig) backfill() {
	r.t.Helper()
	ctx := r.t.Context()
	for _, name := range []string{transport.Interactions, transport.Events} {
		stream, err := r.js.Stream(ctx, name)
		if err != nil {
			r.t.Fatal(err)
		}
		for seq := uint64(1); seq <= stream.CachedInfo().State.LastSeq; seq++ {
			raw, err := stream.GetMsg(ctx, seq)
			if err != nil {
				r.t.Fatal(err)
			}
			msg := &nats.Msg{Subject: partitioned.ReplaceAllString(raw.Subject, ""), Header: raw.Header, Data: bytes.Replace(raw.Data, []byte(`"action":"insert"`), []byte(`"action":"read"`), 1)}
			msg.Header.Set(nats.MsgIdHdr, fmt.Sprintf("backfill-%d", seq))
			if _, err := r.js.PublishMsg(ctx, msg, jetstream.WithExpectStream(name)); err != nil {
				r.t.Fatal(err)
			}
		}
	}
}
