package manifest

import (
	"net/url"
	"regexp"
)

// Function is an entry of functions. Its code is in a language of Sequin's.
type Function struct {
	Name     string
	Type     string // filter, transform, routing, path, enrichment
	SinkType string // of a routing function
	Path     string // of a path function
}

func readFunction(o object) Function {
	f := Function{Name: o.name(), Type: o.one("type", "", "filter", "transform", "routing", "path", "enrichment"), SinkType: o.text("sink_type", ""), Path: o.text("path", "")}
	switch {
	case f.Type == "routing" && f.SinkType == "":
		o.fault("sink_type", "a routing function says for which kind of sink it is, as in sink_type: nats")
	case f.Type == "path" && f.Path == "":
		o.fault("path", "a path function needs one, as in path: record.payload")
	}
	return f
}

// Endpoint is an entry of http_endpoints.
type Endpoint struct {
	Name    string
	URL     string
	Headers map[string]string // encrypted ones among them: they are encrypted in Sequin's database only
}

func readEndpoint(o object) Endpoint {
	o.only("name", "url", "path", "headers", "encrypted_headers", "local", "webhook.site", "id", "account_id", "inserted_at", "updated_at")
	e := Endpoint{Name: o.name(), Headers: map[string]string{}}
	if o.text("local", "") != "true" && o.text("webhook.site", "") != "true" {
		e.URL = o.address("url")
	}
	o.headers("headers", e.Headers)
	o.headers("encrypted_headers", e.Headers)
	return e
}

// hostForm is what Sequin takes for a host: no underscore, no IPv6.
var hostForm = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)

// address reads where an endpoint is. A user and password in it are dropped, as
// Sequin drops them.
func (o object) address(key string) string {
	text := o.required(key)
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https":
		o.fault(key, "must be a URL that begins with http:// or https://")
		return ""
	case !hostForm.MatchString(u.Hostname()):
		o.fault(key, "the host may hold letters, digits, . and - only")
		return ""
	}
	u.User = nil
	return u.String()
}

// headers reads a mapping, or a list of {key, value}.
func (o object) headers(key string, into map[string]string) {
	if _, list := o.fields[key].([]any); !list {
		for name := range o.object(key).fields {
			into[name] = o.object(key).text(name, "")
		}
		return
	}
	for _, h := range each(o, key, func(h object) [2]string { return [2]string{h.required("key"), h.text("value", "")} }) {
		into[h[0]] = h[1]
	}
}
