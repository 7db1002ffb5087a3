package capture

import (
	"fmt"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/finnest/event-runtime/internal/event"
)

// The lines this package writes, one a decision. They hold ids, templates and
// codes; the calls' own words stay out.

// lose ends an event without a row. Each has its own line: the ids are all that
// is left of it.
func (r *Recorder) lose(it *item, why lostReason, err error) {
	waited := !it.state.CompareAndSwap(pending, ended)
	r.count.lost(it.call.Role, why)
	r.cfg.Log.Error().Str("event", "capture.lost").Str("reason", string(why)).Str("code", cause(err)).Str("field", field(err)).
		Str("tenant_id", r.cfg.TenantID).Str("event_id", it.event.ID).Str("interaction_id", it.call.InteractionID).
		Str("role", string(it.call.Role)).Str("endpoint", it.call.Endpoint).Send()
	if waited {
		r.settled()
	}
}

// skip counts a call that is not recorded.
func (r *Recorder) skip(role event.Role, why skipReason) { r.count.skipped(role, why) }

// notRecordable tells once of a template that fits no endpoint. A hook may have
// given a concrete path, so that only its beginning is said.
func (r *Recorder) notRecordable(role event.Role, text string, why skipReason) {
	if r.told.first("template " + text[:min(len(text), mostText)]) {
		r.cfg.Log.Warn().Str("event", "capture.not_recordable").Str("reason", string(why)).Str("role", string(role)).
			Str("endpoint", denylist.Redact(outline(text))).Send()
	}
}

// unmatched tells once of an answer without a route that is no mere 404: a
// middleware between ours and the mux hides the pattern (see Routes), or the mux
// has one pattern for everything and no Template says more.
func (r *Recorder) unmatched(status int) {
	if status != 404 && status != 405 && r.told.first("unmatched") {
		r.cfg.Log.Warn().Str("event", "capture.not_recordable").Str("reason", string(skipUnmatched)).Str("role", string(event.Server)).
			Int("status_code", status).Send()
	}
}

// detailDropped tells once of a field that a hook gave and that can never be
// recorded. The call is recorded without it, and so probably not acceptable.
func (r *Recorder) detailDropped(role event.Role, endpoint, name, code string) {
	if r.told.first("detail " + endpoint + " " + name + " " + code) {
		r.cfg.Log.Error().Str("event", "capture.detail_dropped").Str("field", name).Str("code", code).Str("role", string(role)).
			Str("endpoint", endpoint).Send()
	}
}

// recovered ends the panic of a hook; it must be deferred itself.
func (r *Recorder) recovered(hook string, role event.Role) {
	if p := recover(); p != nil && r.told.first("panic "+hook+string(role)) {
		r.cfg.Log.Error().Str("event", "capture.hook_panicked").Str("code", hook).Str("role", string(role)).
			Str("class", fmt.Sprintf("%T", p)).Send() // its type: the value may hold anything
	}
}
