package post

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// Methods are those that a routing function may ask for.
var methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"}

// longestPath is Sequin's limit.
const longestPath = 2000

// request builds what Sequin would send. Names of headers are in lower case on
// the wire, as there.
func (c *Client) request(ctx context.Context, to Target, body []byte) (*http.Request, *Failure) {
	method, bad := check(to)
	if bad != nil {
		return nil, bad
	}
	headers := http.Header{
		"accept": {"application/json"}, "accept-encoding": {"gzip"}, "content-type": {"application/json"},
		"User-Agent": {""}, "user-agent": {"event-runtime"}, // the first keeps Go from naming itself
	}
	for _, more := range []map[string]string{c.endpoint.Headers, to.Headers} {
		for name, value := range more {
			headers[name] = []string{value}
		}
	}
	if body != nil && c.zips(to) {
		body = zipped(body)
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, join(c.endpoint.Address, to.Path), reader)
	if err != nil {
		return nil, &Failure{Code: BadTarget, Detail: "the address and path make no URL"}
	}
	req.Header = headers
	return req, nil
}

// zips reports that a header asks for it.
func (c *Client) zips(to Target) bool {
	const name = "content-encoding"
	encoding, routed := to.Headers[name]
	if !routed {
		encoding = c.endpoint.Headers[name]
	}
	return encoding == "gzip"
}

// check refuses what a routing function may not give. An absolute address in a
// path would leave the endpoint; Sequin follows it, and we do not.
func check(to Target) (method string, bad *Failure) {
	method = to.Method
	if method == "" {
		method = http.MethodPost
	}
	known := false
	for _, m := range methods {
		known = known || m == method
	}
	switch {
	case !known:
		return "", &Failure{Code: BadTarget, Detail: "a method that is not one of " + strings.Join(methods, " ")}
	case len(to.Path) > longestPath:
		return "", &Failure{Code: BadTarget, Detail: "a path of more than 2000 characters"}
	}
	if u, err := url.Parse(to.Path); err != nil || u.IsAbs() || u.Host != "" {
		return "", &Failure{Code: BadTarget, Detail: "a path that is none"}
	}
	return method, nil
}

// join puts exactly one slash between an address and a path.
func join(address, path string) string {
	if path == "" {
		return address
	}
	return strings.TrimRight(address, "/") + "/" + strings.TrimLeft(path, "/")
}

func zipped(body []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write(body) // memory takes everything
	_ = w.Close()
	return b.Bytes()
}
