package bridge

import (
	"strings"
	"testing"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/quarantine"
	"github.com/finnest/event-runtime/internal/relay/route"
)

func router(t *testing.T) route.Router {
	t.Helper()
	fn, ok := route.Lookup(route.Outbox)
	if !ok {
		t.Fatal("no such function")
	}
	return fn(columns())
}

// What can never be published is told from what can, and which row it was only
// where it is a row of the outbox: for anything else nobody waits.
func TestPack(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 250)
	for name, tc := range map[string]struct {
		body     string
		why      event.Reason
		where    string // the beginning of it
		consumer string // of the quarantine
		subject  string
	}{
		"a row":                        {message(), "", "", "", "events.acme-bank.ofb.consent.advanced"},
		"an interaction":               {message("consent.advanced", "interaction.completed"), "", "", "", "interactions.acme-bank.ofb"},
		"a row that a backfill read":   {message(`"insert"`, `"read"`), "", "", "", "events.acme-bank.ofb.consent.advanced"},
		"values that nobody allows":    {message("acme-bank", "Acme.Bank/€ *", "consent.advanced", "a..b."), "", "", "", "events.Acme_Bank____.ofb.a._.b._"},
		"no tenant":                    {message(`"acme-bank"`, "null"), "", "", "", "events._.ofb.consent.advanced"},
		"a subject that is too long":   {message("consent.advanced", "consent."+long), event.SchemaInvalid, "a subject of 279 bytes", quarantine.Unpublished, ""},
		"no JSON":                      {`{"record":`, event.Unreadable, "byte ", "bridge", ""},
		"a name twice":                 {message(`"n":1.0`, `"n":1,"n":2`), event.Unreadable, "byte ", "bridge", ""},
		"bad UTF-8":                    {message("acme-bank", "acme\xff"), event.Unreadable, "byte ", "bridge", ""},
		"a number":                     {`7`, event.SchemaInvalid, "message", "bridge", ""},
		"null":                         {`null`, event.SchemaInvalid, "record:", "bridge", ""},
		"the payload, by a transform":  {`{"state":"B"}`, event.SchemaInvalid, "record:", "bridge", ""},
		"a record that is a string":    {`{"record":"x"}`, event.SchemaInvalid, "message.record", "bridge", ""},
		"a tenant that is a number":    {message(`"acme-bank"`, "7"), event.SchemaInvalid, "message.record.tenant_id", "bridge", ""},
		"another table":                {message(`"table_name":"outbox"`, `"table_name":"leases"`), event.SchemaInvalid, "metadata.table_name", "bridge", ""},
		"another schema":               {message(`"table_schema":"event_runtime"`, `"table_schema":"public"`), event.SchemaInvalid, "metadata.table_name", "bridge", ""},
		"an update":                    {message(`"insert"`, `"update"`), event.SchemaInvalid, "action:", "bridge", ""},
		"a delete":                     {message(`"insert"`, `"delete"`), event.SchemaInvalid, "action:", "bridge", ""},
		"no action":                    {message(`"action":"insert",`, ""), event.SchemaInvalid, "action:", "bridge", ""},
		"an id that is none":           {message(`"event_id":"0`, `"event_id":"x`), event.SchemaInvalid, "record.event_id", "bridge", ""},
		"deeper than anybody reads it": {message("1.0", strings.Repeat("[", 20000)+strings.Repeat("]", 20000)), event.Unreadable, "byte ", "bridge", ""},
	} {
		p := pack(router(t), []byte(tc.body))
		if p.why != tc.why || !strings.HasPrefix(p.where, tc.where) || (p.msg == nil) != (tc.why != "") {
			t.Errorf("%s: got %q at %q, want %q at %q", name, p.why, p.where, tc.why, tc.where)
			continue
		}
		if p.msg != nil {
			if id := p.msg.Header.Get("Nats-Msg-Id"); p.msg.Subject != tc.subject || string(p.msg.Data) != tc.body || id != p.id.String() {
				t.Errorf("%s: got subject %q and id %q of %v, want %q", name, p.msg.Subject, id, p.id, tc.subject)
			}
			continue
		}
		e := p.entry()
		if e.Consumer != tc.consumer || (e.EventID != nil) != (tc.consumer == quarantine.Unpublished) || e.Key == "" || len(e.SHA256) != 32 || e.Bytes != len(tc.body) {
			t.Errorf("%s: got %+v, want consumer %s", name, e, tc.consumer)
		}
		if e.EventID != nil && (e.Key != e.EventID.String() || e.TenantID != "acme-bank" || e.RecordedOn == nil || !strings.HasPrefix(e.Subject, "events.acme-bank.ofb.")) {
			t.Errorf("%s: got %+v, want the row it is", name, e)
		}
	}
}
