package route

import (
	"testing"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	id    = "01a1f8d3-ea00-7000-8000-000000000001"
	trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
)

var columns = []string{"tenant_id", "event_id", "ecosystem", "event_type", "traceparent"}

func row(texts ...any) (r Row) {
	r.LSN, r.Idx = 555977520, 1
	for _, text := range texts {
		v := pgoutput.Value{Kind: pgoutput.Null}
		if s, ok := text.(string); ok {
			v = pgoutput.Value{Kind: pgoutput.Text, Data: []byte(s)}
		}
		r.Values = append(r.Values, v)
	}
	return r
}

func TestOutboxSubject(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		row            Row
		subject, trace string
		msgID          string
	}{
		"C1 an event":                            {row("acme-bank", id, "ofb", "consent.advanced", trace), "events.acme-bank.ofb.consent.advanced", trace, id},
		"C2 an interaction":                      {row("acme-bank", id, "ofb", "interaction.completed", nil), "interactions.acme-bank.ofb", "", id},
		"C2 a longer interaction":                {row("acme-bank", id, "ofb", "interaction.completed.server", nil), "interactions.acme-bank.ofb", "", id},
		"C2 interaction alone is an event":       {row("acme-bank", id, "ofb", "interaction", nil), "events.acme-bank.ofb.interaction", "", id},
		"C2 interactions are events":             {row("acme-bank", id, "ofb", "interactions.x", nil), "events.acme-bank.ofb.interactions.x", "", id},
		"C2 a word that begins so":               {row("acme-bank", id, "ofb", "interaction-x.y", nil), "events.acme-bank.ofb.interaction-x.y", "", id},
		"C3 characters that subjects refuse":     {row("Acme.Bank/€ *", id, "o f.b>", "order paid/€", ""), "events.Acme_Bank____.o_f_b_.order_paid__", "", id},
		"C3 nothing anywhere":                    {row("", id, "", "", "no trace"), "events._._._", "", id},
		"C3 empty tokens":                        {row("acme-bank", id, "ofb", "a..b.", nil), "events.acme-bank.ofb.a._.b._", "", id},
		"C3 an interaction without a name":       {row("acme-bank", id, "ofb", "interaction.", nil), "interactions.acme-bank.ofb", "", id},
		"C3 one underscore for each code point":  {row("acme-bank", id, "ofb", "é.👩‍👧\r\n.x", nil), "events.acme-bank.ofb._._____.x", "", id},
		"C3 no column at all":                    {row(nil, nil, nil, nil, nil), "events._._._", "", "NTU1OTc3NTIwOjE="},
		"C9 a trace in upper case":               {row("a", id, "ofb", "x", "00-0AF7651916CD43DD8448EB211C80319C-B7AD6B7169203331-01"), "events.a.ofb.x", "", id},
		"C9 a trace with a line behind it":       {row("a", id, "ofb", "x", trace+"\n"), "events.a.ofb.x", "", id},
		"C9 a trace with a header behind it":     {row("a", id, "ofb", "x", trace+"\r\nEvil: 1"), "events.a.ofb.x", "", id},
		"C9 a trace with a dash at a wrong spot": {row("a", id, "ofb", "x", "000-af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), "events.a.ofb.x", "", id},
		"no event_id":                            {row("a", nil, "ofb", "x", nil), "events.a.ofb.x", "", "NTU1OTc3NTIwOjE="},
		"an empty event_id":                      {row("a", "", "ofb", "x", nil), "events.a.ofb.x", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, _ := Lookup("outbox-subject")
			to := Routed{Subject: []byte("of the row before"), MsgID: []byte("too"), Traceparent: []byte("too")}
			f(columns)(&to, c.row)
			if got := string(to.Subject); got != c.subject {
				t.Errorf("got subject %q, want %q", got, c.subject)
			}
			if got := string(to.MsgID); got != c.msgID {
				t.Errorf("got Nats-Msg-Id %q, want %q", got, c.msgID)
			}
			if got := string(to.Traceparent); got != c.trace {
				t.Errorf("got traceparent %q, want %q", got, c.trace)
			}
		})
	}
}

// TestAsEverywhereElse holds the function against what consumers expect.
func TestAsEverywhereElse(t *testing.T) {
	t.Parallel()
	f, _ := Lookup("outbox-subject")
	router := f(columns)
	rapid.Check(t, func(t *rapid.T) {
		tenant := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,39}`).Draw(t, "tenant")
		kind := rapid.OneOf(rapid.StringMatching(`[a-z0-9_-]+([.][a-z0-9_-]+){0,3}`), rapid.StringMatching(`interaction[.s]?[a-z]{0,5}`)).Draw(t, "type")
		trace := rapid.OneOf(rapid.StringMatching(`[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}`), rapid.StringMatching(`[0-9a-fA-F-]{54,56}`), rapid.String()).Draw(t, "trace")
		var to Routed
		router(&to, row(tenant, id, "ofb", kind, trace))
		if event.ValidType(kind) {
			if got, want := string(to.Subject), event.Subject(tenant, "ofb", kind); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		if got, want := len(to.Traceparent) > 0, event.ValidTraceparent(trace); got != want {
			t.Fatalf("got %v for traceparent %q, want %v", got, trace, want)
		}
	})
}

// FuzzSubject: whatever is in a row, its subject is one that NATS takes.
func FuzzSubject(f *testing.F) {
	f.Add("acme-bank", "ofb", "consent.advanced")
	f.Add("", "o f.b>", "a..b.")
	f.Add("\xff\xfe", "*", "interaction.\x00")
	f.Fuzz(func(t *testing.T, tenant, ecosystem, kind string) {
		subject := string(appendSubject(nil, []byte(tenant), []byte(ecosystem), []byte(kind)))
		token := 0
		for _, c := range []byte(subject) {
			switch {
			case c == '.' && token == 0:
				t.Fatalf("got an empty token in %q", subject)
			case c == '.':
				token = 0
			case !plain(c):
				t.Fatalf("got %q in %q", c, subject)
			default:
				token++
			}
		}
		if token == 0 {
			t.Fatalf("got an empty token at the end of %q", subject)
		}
	})
}
