package preflight

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/finnest/event-runtime/internal/relay/manifest"
)

// A setting is compared by its text; where a file leaves it out, Sequin's own
// default counts. Secrets are masked in an export and are not compared.
type setting struct{ key, otherwise string }

var (
	sinkSettings = []setting{{"database", ""}, {"status", "active"}, {"filter", "none"}, {"transform", "none"}, {"routing", "none"}, {"enrichment", "none"},
		{"actions", "delete, insert, update"}, {"message_grouping", "true"}, {"batch_size", "1"}, {"timestamp_format", "iso8601"}, {"max_retry_count", ""}, {"load_shedding_policy", "pause_on_full"}}
	sourceSettings   = []setting{{"include_schemas", ""}, {"exclude_schemas", ""}, {"include_tables", ""}, {"exclude_tables", ""}}
	natsSettings     = []setting{{"type", ""}, {"host", ""}, {"port", ""}, {"tls", "false"}}
	webhookSettings  = []setting{{"type", ""}, {"http_endpoint", ""}, {"http_endpoint_path", ""}, {"batch", "true"}}
	databaseSettings = []setting{{"hostname", ""}, {"port", "5432"}, {"database", ""}, {"username", "postgres"}, {"pool_size", "10"}, {"ssl", "false"}}
	functionSettings = []setting{{"type", ""}}
)

const (
	whyDrift = "Sequin does what runs, not what the file says; a file is applied at its start only"
	doDrift  = "apply the file (restart Sequin, or POST /api/config/apply), or correct the file"
)

// drift compares the entities of the file with those of the same name that run.
func (r *running) drift() {
	for _, s := range r.want.raw.list("sinks") {
		name := s.text("name")
		have, there := r.have.raw.named("sinks", name)
		where := "sinks[" + name + "]"
		if !there {
			r.add(where, "not there", "nobody carries the outbox", "apply the file")
			continue
		}
		r.compare(where, s, have, sinkSettings)
		r.compare(where+".source", s.object("source"), have.object("source"), sourceSettings)
		settings := natsSettings
		if s.object("destination").text("type") == manifest.Webhook {
			settings = webhookSettings
		}
		r.compare(where+".destination", s.object("destination"), have.object("destination"), settings)
	}
	r.others()
	for _, fn := range r.want.raw.list("functions") {
		have, there := r.have.raw.named("functions", fn.text("name"))
		where := "functions[" + fn.text("name") + "]"
		if !there {
			r.add(where, "not there", whyDrift, doDrift)
			continue
		}
		r.compare(where, fn, have, functionSettings)
		if !sameCode(fn.text("code"), have.text("code")) {
			r.add(where+".code", "another one than in the file", whyDrift, doDrift)
		}
	}
	r.databases()
	r.endpoints()
}

func (r *running) compare(where string, want, have tree, settings []setting) {
	for _, s := range settings {
		a, b := want.or(s), have.or(s)
		if a != b {
			r.add(where+"."+s.key, fmt.Sprintf("%q runs, the file says %q", b, a), whyDrift, doDrift)
		}
	}
}

// or is a setting, or what it is where it is left out.
func (t tree) or(s setting) string {
	switch v := t.text(s.key); {
	case v == "":
		return s.otherwise
	case s.otherwise == "none" && (v == "null" || v == "nil"):
		return "none"
	default:
		return v
	}
}

// others looks for sinks that the file does not know and that read its slot:
// applying a file removes none.
func (r *running) others() {
	ours := map[string]bool{}
	for _, s := range r.want.parsed.Sinks {
		if d, ok := r.want.parsed.Database(s.Database); ok {
			ours[d.Slot.Name] = true
		}
	}
	for _, s := range r.have.parsed.Sinks {
		d, _ := r.have.parsed.Database(s.Database)
		_, known := r.want.raw.named("sinks", s.Name)
		if !known && s.Status != "disabled" && ours[d.Slot.Name] {
			r.add("sinks["+s.Name+"]", "runs on the same slot, and is not in the file", "when it is down the whole slot stops; applying a file removes no sink", "DELETE /api/sinks/"+s.Name+", or put it into a file and on a slot of its own")
		}
	}
}

func (r *running) databases() {
	for _, d := range r.want.parsed.Databases {
		where := "databases[" + d.Name + "]"
		have, there := r.have.parsed.Database(d.Name)
		if !there {
			r.add(where, "not there", whyDrift, doDrift)
			continue
		}
		a, _ := r.want.raw.named("databases", d.Name)
		b, _ := r.have.raw.named("databases", d.Name)
		if a.text("url") == "" {
			r.compare(where, a, b, databaseSettings)
		}
		for key, names := range map[string][2]string{"slot": {d.Slot.Name, have.Slot.Name}, "publication": {d.Publication.Name, have.Publication.Name}} {
			if names[0] != names[1] {
				r.add(where+"."+key, fmt.Sprintf("%q runs, the file says %q", names[1], names[0]), "neither name can be changed by applying a file", "register the database under another name, and delete the old entry")
			}
		}
	}
}

func (r *running) endpoints() {
	for _, e := range r.want.raw.list("http_endpoints") {
		name := e.text("name")
		where := "http_endpoints[" + name + "]"
		have, there := r.have.raw.named("http_endpoints", name)
		if !there {
			r.add(where, "not there", whyDrift, doDrift)
			continue
		}
		if a, b := address(e.text("url")), address(have.text("url")); a != b {
			r.add(where+".url", fmt.Sprintf("%q runs, the file says %q", shown(b), shown(a)), whyDrift, doDrift)
		}
		for _, key := range []string{"headers", "encrypted_headers"} {
			mine, theirs := e.pairs(key), have.pairs(key)
			for name := range mine {
				if _, there := theirs[name]; !there {
					r.add(where+"."+key, "no header "+name, whyDrift, doDrift)
				}
			}
			for name := range theirs {
				if _, there := mine[name]; !there {
					r.add(where+"."+key, "a header "+name+" that is not in the file", whyDrift, doDrift)
				}
			}
		}
	}
}

// shown leaves out of an address where a secret may be.
func shown(address string) string {
	before, _, _ := strings.Cut(address, "?")
	return before
}

// address is a URL without what Sequin drops or adds.
func address(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return ""
	}
	u.User = nil
	if u.Scheme == "http" && u.Port() == "80" || u.Scheme == "https" && u.Port() == "443" {
		u.Host = u.Hostname()
	}
	return strings.TrimRight(u.String(), "/")
}
