package capture

import (
	"context"
	"net/http"
)

// ServerOptions is how one middleware reads the calls it sees.
type ServerOptions struct {
	// Template names the endpoint of a request that was handled: with a router that
	// is no http.ServeMux, or where the mux has a pattern for many endpoints. It is
	// asked first, when the handler has returned; "" leaves the answer to Route and
	// to the mux's pattern, and NotRecorded leaves the call out. A request that none
	// of them knows is not recorded.
	Template func(*http.Request) string

	Details  Details            // of every call
	Describe func(Call) Details // of one call, over Details; see also Annotate
}

// Server is the middleware that records calls as their SERVER. It belongs around
// a mux or around one handler in it, and outside of everything that answers by
// itself, as http.TimeoutHandler does.
//
// The last write of an answer is held until its row is committed; a flush lets
// it go. What a handler can do with its ResponseWriter stays: flush, hijack,
// push, deadlines, full duplex, trailers. Two things differ: files are copied
// rather than sent by the kernel, and http.MaxBytesReader cannot ask the server
// to close the connection after it refused.
func (r *Recorder) Server(opts ServerOptions) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		inner := Routes(next)
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			if x := exchangeIn(req.Context()); x != nil && x.rec == r {
				inner.ServeHTTP(w, req) // recorded further out already
				return
			}
			x := r.receive(w, req, &opts)
			defer x.finish() // also in a panic, which goes on
			next.ServeHTTP(x.writer(), x.req)
			x.returned = true
		})
	}
}

// Routes tells a Server middleware further out which pattern of mux a request
// matched. Only needed where something between the two replaces the request
// (with WithContext or Clone), so that the pattern stays on its copy.
func Routes(mux http.Handler) http.Handler {
	matcher, _ := mux.(interface {
		Handler(*http.Request) (http.Handler, string)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		x := exchangeIn(req.Context())
		if x == nil {
			mux.ServeHTTP(w, req)
			return
		}
		if matcher != nil { // an http.TimeoutHandler in between may answer before the mux returns
			_, pattern := matcher.Handler(req)
			x.route(pattern)
		}
		defer func() { x.route(req.Pattern) }()
		mux.ServeHTTP(w, req)
	})
}

// Route tells a Server middleware further out which route the request of ctx
// took, in its router's own words: "/consents/:consentId". It is for routers that
// keep the pattern where a Template hook cannot see it, as gin does; the last
// word counts, "" says nothing, and NotRecorded leaves the call out.
func Route(ctx context.Context, template string) {
	if x := exchangeIn(ctx); x != nil {
		x.told(template)
	}
}
