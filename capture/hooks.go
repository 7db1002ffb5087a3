package capture

import (
	"net/http"

	"github.com/finnest/event-runtime/internal/event"
)

// named asks a Template hook; one that is missing, or panics, knows nothing.
func (r *Recorder) named(role event.Role, hook func(*http.Request) string, req *http.Request) string {
	if hook == nil {
		return ""
	}
	defer r.recovered("template", role)
	return hook(req)
}

// describe gathers what is known of a call: the options' own, then the hook's,
// then what the handler said while it ran.
func (r *Recorder) describe(o *observation, fixed Details, hook func(Call) Details, req *http.Request, header http.Header, said Details) Details {
	d := fixed
	if hook != nil {
		d = d.over(r.ask(o, hook, req, header))
	}
	d, bad := d.over(said).checked()
	for _, name := range bad {
		r.detailDropped(o.role, o.endpoint, name, "malformed")
	}
	return d
}

// ask calls the hook. It is the bank's code: what it breaks must not break the call.
func (r *Recorder) ask(o *observation, hook func(Call) Details, req *http.Request, header http.Header) (d Details) {
	defer r.recovered("describe", o.role)
	return hook(Call{
		Role: string(o.role), Request: withoutBody(req), Endpoint: o.endpoint, InteractionID: o.id.value,
		Status: o.status, Header: header, Timestamp: o.at, Took: o.took,
	})
}

// withoutBody gives req as a hook may see it: a body has one reader, and that
// is not us.
func withoutBody(req *http.Request) *http.Request {
	bare := req.WithContext(req.Context())
	bare.Body, bare.GetBody, bare.Form, bare.PostForm, bare.MultipartForm = http.NoBody, nil, nil, nil, nil
	return bare
}
