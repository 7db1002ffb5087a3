package bridge

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"github.com/finnest/event-runtime/internal/relay/route"
	"github.com/finnest/event-runtime/internal/transport"
	jsonv2 "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The table whose rows are carried.
const (
	outboxSchema = "event_runtime"
	outboxTable  = "outbox"
)

// element is what the bridge reads of a message. The rest it passes on unread,
// metadata.consumer too: it names the sink that has carried the row.
type element struct {
	Record   *record `json:"record"`
	Action   string  `json:"action"`
	Metadata struct {
		Schema string `json:"table_schema"`
		Table  string `json:"table_name"`
	} `json:"metadata"`
}

// record has the columns that decide about subject and headers, as text, and the
// day.
type record struct {
	TenantID    *string `json:"tenant_id"`
	RecordedOn  *string `json:"recorded_on"`
	EventID     *string `json:"event_id"`
	Ecosystem   *string `json:"ecosystem"`
	EventType   *string `json:"event_type"`
	Traceparent *string `json:"traceparent"`
}

// columns are those that values gives, in its order.
func columns() []string {
	return []string{"tenant_id", "ecosystem", "event_type", "event_id", "traceparent"}
}

func (r *record) values() []pgoutput.Value {
	var all []pgoutput.Value
	for _, text := range []*string{r.TenantID, r.Ecosystem, r.EventType, r.EventID, r.Traceparent} {
		if text == nil {
			all = append(all, pgoutput.Value{Kind: pgoutput.Null})
			continue
		}
		all = append(all, pgoutput.Value{Kind: pgoutput.Text, Data: []byte(*text)})
	}
	return all
}

// parcel is one element on its way: a message, or the reason why there will never
// be one.
type parcel struct {
	body    []byte
	msg     *nats.Msg
	subject string
	stream  string
	record  *record // of a row of the outbox
	id      event.ID
	why     event.Reason
	where   string // never a value
}

// never turns the parcel into one that is set aside.
func (p *parcel) never(why event.Reason, where string) { p.msg, p.why, p.where = nil, why, where }

// pack decides what an element becomes. It asks nobody; that a stream takes none
// of its size is only known when it is tried.
func pack(to route.Router, body []byte) *parcel {
	p := &parcel{body: body}
	var e element
	if err := jsonv2.Unmarshal(body, &e); err != nil {
		p.never(misread(err))
		return p
	}
	switch {
	case e.Record == nil:
		p.never(event.SchemaInvalid, "record: the element is no message of Sequin's; a sink for the bridge has no transform")
	case e.Metadata.Schema != outboxSchema || e.Metadata.Table != outboxTable:
		p.never(event.SchemaInvalid, "metadata.table_name: not the outbox; a sink for the bridge has no other table")
	case e.Action != "insert" && e.Action != "read": // a backfill reads
		p.never(event.SchemaInvalid, "action: neither insert nor read; a sink for the bridge has actions: [insert]")
	default:
		p.address(to, e.Record)
	}
	return p
}

// address makes the message of a row of the outbox.
func (p *parcel) address(to route.Router, r *record) {
	id, err := parseID(r.EventID)
	if err != nil {
		p.never(event.SchemaInvalid, "record.event_id")
		return
	}
	p.record, p.id = r, id
	var routed route.Routed
	to(&routed, route.Row{Values: r.values()})
	p.subject = string(routed.Subject)
	p.msg = nats.NewMsg(p.subject)
	p.msg.Data = p.body
	p.msg.Header.Set(jetstream.MsgIDHeader, string(routed.MsgID))
	if len(routed.Traceparent) > 0 {
		p.msg.Header["traceparent"] = []string{string(routed.Traceparent)} // spelled as Sequin spells it
	}
	if p.stream = transport.StreamOf(p.subject); len(p.subject) > route.LongestSubject {
		p.never(event.SchemaInvalid, fmt.Sprintf("a subject of %d bytes", len(p.subject)))
	}
}

func parseID(text *string) (event.ID, error) {
	if text == nil {
		return event.ID{}, errors.New("null")
	}
	return event.ParseID(*text)
}

// misread says where an element stops being a message.
func misread(err error) (event.Reason, string) {
	var syntax *jsontext.SyntacticError
	var wrong *jsonv2.SemanticError
	switch {
	case errors.As(err, &syntax):
		return event.Unreadable, "byte " + strconv.FormatInt(syntax.ByteOffset, 10)
	case errors.As(err, &wrong):
		return event.SchemaInvalid, "message" + strings.ReplaceAll(string(wrong.JSONPointer), "/", ".")
	default:
		return event.Unreadable, "message"
	}
}

// bridgeItself is the consumer of what is no row of the outbox. Nobody waits for
// it, so it is in nobody's books.
const bridgeItself = "bridge"

// entry is what quarantine keeps: which row it is, as far as that can be told,
// and never what is in it.
func (p *parcel) entry() quarantine.Entry {
	sum := sha256.Sum256(p.body)
	e := quarantine.Entry{Stage: quarantine.Ingest, Consumer: bridgeItself, Key: "sha256:" + hex.EncodeToString(sum[:]),
		Reason: string(p.why), Detail: p.where, SHA256: sum[:], Bytes: len(p.body)}
	if p.record == nil {
		return e
	}
	e.Consumer, e.Key, e.EventID = quarantine.Unpublished, p.id.String(), &p.id
	e.Subject = p.subject[:min(len(p.subject), route.LongestSubject)]
	if t := p.record.TenantID; t != nil {
		e.TenantID = strings.ReplaceAll(*t, "\x00", "_") // Postgres takes none
	}
	if d := p.record.RecordedOn; d != nil {
		if day, err := time.Parse(time.DateOnly, *d); err == nil {
			e.RecordedOn = &day
		}
	}
	return e
}
