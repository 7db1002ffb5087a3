package capture

import (
	"cmp"
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/event"
)

// exchange is one call under way on the server.
type exchange struct {
	rec      *Recorder
	opts     *ServerOptions
	outer    *http.Request // as it came to us
	req      *http.Request // as the handler sees it
	at       time.Time
	id       interactionID
	body     body
	response response
	returned bool // by the handler; false while it panics or ends its goroutine
	recorded bool

	mu      sync.Mutex
	pattern string  // from Routes; guarded by mu
	taken   string  // from Route; guarded by mu
	said    Details // from Annotate; guarded by mu
}

type exchangeKey struct{}

func exchangeIn(ctx context.Context) *exchange {
	x, _ := ctx.Value(exchangeKey{}).(*exchange)
	return x
}

// receive begins a call. The request is copied: outer middlewares hold the
// original, which is not ours to change.
func (r *Recorder) receive(w http.ResponseWriter, req *http.Request, opts *ServerOptions) *exchange {
	x := &exchange{rec: r, opts: opts, outer: req, at: time.Now(), id: interactionOf(req.Header)}
	x.req = req.WithContext(context.WithValue(req.Context(), exchangeKey{}, x))
	x.req.Header = withID(req.Header, x.id)
	if req.Body != nil && req.Body != http.NoBody { // handlers compare with NoBody
		x.body.ReadCloser, x.body.ctx = req.Body, req.Context()
		x.req.Body = &x.body
	}
	x.response = response{under: w, x: x, declared: -1}
	w.Header()[interactionHeader] = []string{x.id.value}
	return x
}

func (x *exchange) annotate(d Details) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.said = x.said.over(d)
}

func (x *exchange) route(pattern string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if pattern != "" {
		x.pattern = pattern
	}
}

func (x *exchange) told(template string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if template != "" {
		x.taken = template
	}
}

// finish records the call and lets the held write go. It is deferred: when the
// handler panics it runs on the way, and the panic goes on with its own stack.
func (x *exchange) finish() {
	x.handBack()
	w := &x.response
	defer w.drop()
	switch {
	case !x.returned:
		x.record(http.StatusInternalServerError, time.Now()) // what is held never leaves: an answer cut short is none
	case w.passing: // hijacked, recorded then
	default:
		w.identify()
		x.record(x.status(), w.ended())
		_ = w.release() // the client is gone, and the handler too
	}
}

// handBack gives the original what the server and outer middlewares look for on
// it: the mux's pattern, and the form's files, which the server removes.
func (x *exchange) handBack() {
	x.outer.Pattern, x.outer.MultipartForm = x.req.Pattern, x.req.MultipartForm
}

// status is what the answer says, or 408 for a request that never came in full:
// whatever was answered then, the call timed out (RFC 7231, 6.5.7).
func (x *exchange) status() int {
	switch {
	case x.body.broken.Load():
		return http.StatusRequestTimeout
	case x.response.status == 0:
		return http.StatusOK
	default:
		return x.response.status
	}
}

// hijacked records the call when its connection leaves HTTP.
func (x *exchange) hijacked() {
	status := x.response.status
	if status == 0 {
		status = http.StatusSwitchingProtocols
	}
	x.record(status, time.Now())
}

// record makes the call's row, once.
func (x *exchange) record(status int, ended time.Time) {
	if x.recorded {
		return
	}
	x.recorded = true
	x.mu.Lock()
	pattern, taken, said := x.pattern, x.taken, x.said
	x.mu.Unlock()
	o := &observation{role: event.Server, method: x.outer.Method, status: status, at: x.at, took: ended.Sub(x.at), id: x.id}
	var why skipReason
	if o.endpoint, why = x.endpoint(taken, pattern, status); why == "" {
		why = o.unrecordable()
	}
	if why != "" {
		x.rec.skip(o.role, why)
		return
	}
	ctx := x.req.Context()
	o.trace = traceparent(ctx, x.req.Header)
	x.rec.record(ctx, o, x.rec.describe(o, x.opts.Details, x.opts.Describe, x.req, x.response.under.Header(), said))
}

// endpoint asks the hook first, then who called Route, then the mux, then the
// mux behind Routes. In that order: a handler may send requests of its own
// through a mux of ours.
func (x *exchange) endpoint(taken, inner string, status int) (string, skipReason) {
	if text := cmp.Or(x.rec.named(event.Server, x.opts.Template, x.req), taken); text != "" {
		return x.rec.endpoint(event.Server, text)
	}
	for _, pattern := range [...]string{x.req.Pattern, inner} {
		if text, ok := fromPattern(pattern); ok {
			return x.rec.endpoint(event.Server, text)
		}
	}
	x.rec.unmatched(status)
	return "", skipUnmatched
}
