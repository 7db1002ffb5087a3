// Package post sends messages to an HTTP endpoint as Sequin's webhook sink does.
//
// Promise: one Send is what Sequin calls an attempt: one request, or two when
//
//	the first met something that passes by itself; nil only when the last
//	answer was 2xx.
//
// State:   none but idle connections.
// Failure: *Failure, with a code out of a closed set. Neither headers nor
//
//	addresses are in it: they may be secrets. Answers are not read.
package post

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"
)

const (
	// Timeout is how long Sequin waits for an answer.
	Timeout = 30 * time.Second

	resendAfter   = 500 * time.Millisecond // give or take 15 %
	longestResend = 30 * time.Second       // Sequin has no limit, and a worker hangs as long as the other side likes
	mostRedirects = 10
)

// Endpoint is what all requests share.
type Endpoint struct {
	Address string            // http or https
	Headers map[string]string // names in lower case
	Batch   bool              // {"data":[…]}, also around one message
}

// Target is where one request goes.
type Target struct {
	Method  string            // POST when empty
	Path    string            // behind the address
	Headers map[string]string // they replace the endpoint's; names in lower case
}

// Client sends to one endpoint. Its methods may be called by many at once.
type Client struct {
	endpoint Endpoint
	http     *http.Client
	random   func() float64 // in [0, 1)
}

// New makes a client that waits so long for each answer.
func New(e Endpoint, timeout time.Duration, random func() float64) *Client {
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableCompression: true, // the header says what Sequin's says, and nobody reads the answer
		MaxIdleConnsPerHost: 16, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: timeout,
		Protocols: new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(true)
	return &Client{endpoint: e, random: random, http: &http.Client{Transport: transport, Timeout: timeout, CheckRedirect: follow}}
}

// Close lets idle connections go.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Send makes one attempt to deliver messages, each of them JSON.
func (c *Client) Send(ctx context.Context, to Target, messages [][]byte) error {
	body := c.body(messages)
	failure, again := c.once(ctx, to, body)
	if failure == nil || !again.worth || ctx.Err() != nil {
		return failure.orNil()
	}
	if !pause(ctx, again.delay(c.random())) {
		return failure
	}
	failure, _ = c.once(ctx, to, body)
	return failure.orNil()
}

// body is nil where Sequin sends none: a bare message that is null or false.
func (c *Client) body(messages [][]byte) []byte {
	if !c.endpoint.Batch {
		if one := messages[0]; !bytes.Equal(one, []byte("null")) && !bytes.Equal(one, []byte("false")) {
			return one
		}
		return nil
	}
	body := append([]byte(`{"data":[`), bytes.Join(messages, []byte(","))...)
	return append(body, "]}"...)
}

func (c *Client) once(ctx context.Context, to Target, body []byte) (*Failure, resend) {
	req, failure := c.request(ctx, to, body)
	if failure != nil {
		return failure, resend{}
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return broken(err)
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return answered(resp)
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// follow is Sequin's way with redirects: ten of them, and no credentials to
// another origin.
func follow(req *http.Request, via []*http.Request) error {
	if len(via) > mostRedirects {
		return errTooMany
	}
	if first := via[0].URL; req.URL.Scheme != first.Scheme || req.URL.Host != first.Host {
		delete(req.Header, "authorization")
		delete(req.Header, "Authorization")
	}
	return nil
}

var errTooMany = fmt.Errorf("more than %d redirects", mostRedirects)

// Equal reports whether messages for both may share a request.
func (t *Target) Equal(other *Target) bool {
	return t == other || t.Method == other.Method && t.Path == other.Path && maps.Equal(t.Headers, other.Headers)
}
