package capture

import (
	"context"
	"net/http"
	"time"

	"github.com/finnest/event-runtime/internal/event"
)

// ClientOptions is how one round-tripper reads the calls it makes.
type ClientOptions struct {
	// Template names the endpoint of an outgoing request; WithEndpoint, which goes
	// first, is the other way. A request that neither knows, or for which it returns
	// NotRecorded, passes untouched and unrecorded.
	Template func(*http.Request) string

	Details  Details            // of every call
	Describe func(Call) Details // of one call, over Details
}

type endpointKey struct{}

// WithEndpoint names the endpoint of the outgoing calls made with the context:
// "/open-banking/accounts/v2/accounts/{accountId}", as the regulator lists it.
func WithEndpoint(ctx context.Context, template string) context.Context {
	return context.WithValue(ctx, endpointKey{}, template)
}

// Client records calls as their CLIENT, around next; nil is
// http.DefaultTransport. The response is handed over, body unread, once its row
// is committed; requests are sent with an interaction id, made where missing,
// which resp.Request shows.
//
// A timeout is a call with status 408, whichever deadline ended it: the
// caller's, http.Client's, or one of the transport's own, connecting included.
// Without status and without timeout (refused, reset, cancelled by the caller)
// there is nothing that the regulators' reports can say; such calls are counted
// as no_answer.
func (r *Recorder) Client(next http.RoundTripper, opts ClientOptions) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	return &tripper{rec: r, next: next, opts: opts}
}

type tripper struct {
	rec  *Recorder
	next http.RoundTripper
	opts ClientOptions
}

// CloseIdleConnections is what http.Client.CloseIdleConnections looks for.
func (t *tripper) CloseIdleConnections() {
	if closer, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		closer.CloseIdleConnections()
	}
}

func (t *tripper) RoundTrip(req *http.Request) (*http.Response, error) {
	endpoint, why := t.endpoint(req)
	if why != "" {
		t.rec.skip(event.Client, why)
		return t.next.RoundTrip(req)
	}
	id, clock := interactionOf(req.Header), newClock()
	sent := req.WithContext(clock.watch(req.Context())) // a copy: the caller's request is not ours to change
	sent.Header = withID(req.Header, id)
	res, err := t.next.RoundTrip(sent)
	end := ending{err: err, ctx: req.Context(), now: time.Now()}
	var header http.Header
	if res != nil {
		end.status, header = res.StatusCode, res.Header
	}
	t.record(sent, header, id, endpoint, clock, end)
	return res, err
}

func (t *tripper) endpoint(req *http.Request) (string, skipReason) {
	text, _ := req.Context().Value(endpointKey{}).(string)
	if text == "" {
		text = t.rec.named(event.Client, t.opts.Template, req)
	}
	if text == "" {
		return "", skipUnmatched
	}
	return t.rec.endpoint(event.Client, text)
}

func (t *tripper) record(sent *http.Request, header http.Header, id interactionID, endpoint string, clock *clock, end ending) {
	o := &observation{role: event.Client, endpoint: endpoint, method: sent.Method, id: id, prefix: t.prefix(endpoint, sent)}
	if o.method == "" {
		o.method = http.MethodGet
	}
	var answered bool
	if o.status, answered = end.code(); !answered {
		t.rec.skip(event.Client, skipNoAnswer)
		return
	}
	if why := o.unrecordable(); why != "" {
		t.rec.skip(event.Client, why)
		return
	}
	o.at, o.took = clock.span(end.now, end.err == nil)
	o.trace = traceparent(sent.Context(), sent.Header)
	t.rec.record(sent.Context(), o, t.rec.describe(o, t.opts.Details, t.opts.Describe, sent, header, Details{}))
}

// prefix leaves out what the schema would refuse, and tells once.
func (t *tripper) prefix(endpoint string, sent *http.Request) string {
	prefix := uriPrefix(t.rec.cfg.Ecosystem, endpoint, sent)
	if !isFree(prefix, 200) {
		t.rec.detailDropped(event.Client, endpoint, "endpointUriPrefix", "malformed")
		return ""
	}
	return prefix
}
