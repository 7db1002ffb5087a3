package relay

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	startWithin  = 15 * time.Second // to connect and begin to stream
	writeWithin  = 10 * time.Second
	finishWithin = 2 * time.Second
	// A server that is alive answers our status, which asks for it.
	silentFor = 30 * time.Second
)

// feed is the stream of a slot.
type feed struct {
	conn   net.Conn
	frames *frames
}

// openFeed starts to stream from where the slot stands. It fails with SQLSTATE
// 55006 while another connection streams.
func openFeed(ctx context.Context, url string, p *plan, largest int, stallFor time.Duration) (*feed, error) {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	cfg, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("database address: %w", err)
	}
	cfg.RuntimeParams["replication"] = "database"
	cfg.RuntimeParams["application_name"] = relayName
	alike(cfg.RuntimeParams)
	// A checkpoint that takes the slot's log away waits for the process that streams
	// to end, and that one waits until we have taken its farewell. From a relay that
	// is stopped it would wait for ever, and the log would grow without a bound.
	if stallFor > 0 {
		cfg.RuntimeParams["tcp_user_timeout"] = strconv.FormatInt(stallFor.Milliseconds(), 10)
	}
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connect for replication: %w", err)
	}
	// Before anything is streamed: afterwards some of it would be left in pgx's buffer.
	hijacked, err := pg.Hijack()
	if err != nil {
		return nil, fmt.Errorf("take over the connection: %w", err)
	}
	f := &feed{conn: hijacked.Conn, frames: newFrames(hijacked.Conn, largest)}
	stop := context.AfterFunc(ctx, func() { _ = f.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if err := f.start(p); err != nil {
		_ = f.conn.Close()
		return nil, fmt.Errorf("start replication from slot %s: %w", p.slot, err)
	}
	return f, nil
}

// relayName is what Postgres knows the holder of the slot by.
const relayName = "event-runtime relay"

// alike sets what the look of values depends on, wherever the role or the
// database has others.
func alike(params map[string]string) {
	params["client_encoding"] = "UTF8"
	params["timezone"] = "UTC"
	params["datestyle"] = "ISO, MDY"
	params["intervalstyle"] = "postgres"
	params["bytea_output"] = "hex"
	params["extra_float_digits"] = "1"
}

func (f *feed) start(p *plan) error {
	// Sequin's options. 0/0 is where the slot was confirmed last: a position of our
	// own could belong to another history of the database.
	query := fmt.Sprintf(`START_REPLICATION SLOT %s LOGICAL 0/0 (proto_version '1', publication_names %s, messages 'true')`,
		quote(p.slot, `"`), quote(quote(p.publication, `"`), `'`))
	b := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(4+len(query)+1))
	if _, err := f.conn.Write(append(append(b, query...), 0)); err != nil {
		return err
	}
	for {
		switch kind, body, err := f.frames.next(); {
		case err != nil:
			return err
		case kind == 'W': // both ways are open
			return nil
		case kind == 'E':
			return serverError(body)
		}
	}
}

func quote(name, with string) string {
	return with + strings.ReplaceAll(name, with, with+with) + with
}

func serverError(body []byte) error {
	var msg pgproto3.ErrorResponse
	if err := msg.Decode(body); err != nil {
		return fmt.Errorf("an error of the server that cannot be read: %w", err)
	}
	return pgconn.ErrorResponseToPgError(&msg)
}

// confirm tells the server that everything up to a position is safe with us, and
// asks it to answer.
func (f *feed) confirm(lsn uint64, now time.Time) error {
	b := make([]byte, 0, 39)
	b = append(b, 'd', 0, 0, 0, 38, 'r')
	for range 3 { // written, flushed, applied
		b = binary.BigEndian.AppendUint64(b, lsn)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(now.UnixMicro()-postgresEpoch))
	b = append(b, 1)
	_ = f.conn.SetWriteDeadline(now.Add(writeWithin))
	if _, err := f.conn.Write(b); err != nil {
		return fmt.Errorf("confirm the slot: %w", err)
	}
	return nil
}

const postgresEpoch = 946684800_000_000 // 2000-01-01 UTC in Unix microseconds

// finish ends the stream in order: the server has read everything we said when
// it agrees. Closing with data unread would reset the connection and might take
// our last confirmation along.
func (f *feed) finish() {
	f.frames.before = nil
	_ = f.conn.SetDeadline(time.Now().Add(finishWithin))
	if _, err := f.conn.Write([]byte{'c', 0, 0, 0, 4}); err != nil {
		return
	}
	for {
		kind, _, err := f.frames.next()
		if err != nil || kind == 'Z' || kind == 'E' {
			return
		}
	}
}

func (f *feed) close() { _ = f.conn.Close() }
