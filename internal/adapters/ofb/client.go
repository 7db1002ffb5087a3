package ofb

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync/atomic"
	"time"

	"github.com/finnest/event-runtime/internal/crash"
	"github.com/finnest/event-runtime/internal/submit"
)

// reportPaths is where the reports of each API go.
var reportPaths = map[string]string{
	Private:  "/report-api/v1/private/report",
	OpenData: "/report-api/v1/opendata/report",
}

const mostAnswerBytes = 16 << 20

// Submit posts b once, over a connection of its own.
func (a *Adapter) Submit(ctx context.Context, b submit.Batch) submit.Outcome {
	path, known := reportPaths[b.API]
	if !known {
		return never(submit.LocalFault, fmt.Errorf("this release does not report to %s", b.API))
	}
	items, err := a.Split(b.API, b.Body)
	if err != nil {
		return never(submit.LocalFault, err)
	}
	t, err := a.tokensOf(holder{b.TenantID, b.OrganisationID})
	if err != nil {
		return never(submit.TokenFailed, err)
	}
	token, err := t.get(ctx, b.FreshToken)
	if err != nil {
		return never(submit.TokenFailed, err)
	}
	return a.exchange(ctx, b, path, items, token)
}

func never(code submit.Code, err error) submit.Outcome {
	return submit.Outcome{Kind: submit.NeverSent, Code: code, Detail: err.Error()}
}

var errTooLate = errors.New("the time to begin has passed")

// exchange writes the request and reads the answer. What makes the difference
// is whether the headers were handed to the connection: before that nothing can
// have been processed, after that everything may have been.
func (a *Adapter) exchange(ctx context.Context, b submit.Batch, path string, items [][]byte, token string) submit.Outcome {
	var began atomic.Bool
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ctx = context.WithValue(ctx, writeBy{}, time.Now().Add(b.PostBy.Sub(a.now())))
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) {
			crash.Point("after_conn")
			if !a.now().Before(b.PostBy) {
				cancel(errTooLate)
			}
		},
		WroteHeaders: func() { began.Store(true) }, // fires when they are in the buffer: errs on the safe side
		WroteRequest: func(info httptrace.WroteRequestInfo) {
			if info.Err == nil {
				crash.Point("after_full_request")
			}
		},
		GotFirstResponseByte: func() { crash.Point("after_status_line") },
	})
	// A plain reader in a NopCloser: no GetBody, so the transport cannot send it
	// twice.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url(path), io.NopCloser(bytes.NewReader(b.Body)))
	if err != nil {
		return never(submit.LocalFault, err)
	}
	req.ContentLength = int64(len(b.Body))
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("User-Agent", "event-runtime")
	res, err := a.reports.Do(req)
	if err != nil {
		return lost(ctx, unURL(err), began.Load())
	}
	defer func() { _ = res.Body.Close() }()
	body, incomplete := readAnswer(res)
	return classify(reply{res.StatusCode, res.Header, body, incomplete}, items, a.now())
}

// lost is a request without an answer.
func lost(ctx context.Context, err error, began bool) submit.Outcome {
	if cause := context.Cause(ctx); errors.Is(cause, errTooLate) && !began {
		return never(submit.TooLate, cause)
	}
	var alert tls.AlertError
	switch {
	case !began:
		return never(submit.ConnectFailed, err)
	case errors.As(err, &alert):
		// TLS 1.3 may refuse a certificate after the handshake; the request was
		// not processed, but no more than its bytes' fate is known.
		return submit.Outcome{Kind: submit.Unknown, Code: submit.AnswerLost, Detail: "tls alert: " + alert.Error()}
	default:
		return submit.Outcome{Kind: submit.Unknown, Code: submit.AnswerLost, Detail: err.Error()}
	}
}

// readAnswer reads a bounded body, and says why it is not whole.
func readAnswer(res *http.Response) (body []byte, incomplete string) {
	var got bytes.Buffer
	if half := res.ContentLength / 2; half > 0 {
		if _, err := io.CopyN(&got, res.Body, half); err != nil {
			return got.Bytes(), fmt.Sprintf("cut off after %d bytes", got.Len())
		}
	}
	crash.Point("after_half_body")
	_, err := io.Copy(&got, io.LimitReader(res.Body, mostAnswerBytes+1-int64(got.Len())))
	switch {
	case err != nil:
		return got.Bytes(), fmt.Sprintf("cut off after %d bytes", got.Len())
	case got.Len() > mostAnswerBytes:
		return got.Bytes()[:mostAnswerBytes], "longer than 16 MiB"
	default:
		return got.Bytes(), ""
	}
}

func (a *Adapter) url(path string) string { return strings.TrimRight(a.cfg.APIURL, "/") + path }

// writeBy carries the moment after which a connection may not be written to.
type writeBy struct{}

// dial opens connections. One for a report stops taking writes at the batch's
// post_by: a process that was stopped in between must not send when it wakes up.
func dial(timeout time.Duration) func(context.Context, string, string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: timeout}
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dialer.DialContext(ctx, network, address)
		by, bounded := ctx.Value(writeBy{}).(time.Time)
		if err != nil || !bounded {
			return conn, err
		}
		if err := conn.SetWriteDeadline(by); err != nil {
			_ = conn.Close()
			return nil, err
		}
		return counted{conn}, nil
	}
}

// counted tells the crash harness how many bytes have left.
type counted struct{ net.Conn }

func (c counted) Write(b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	crash.Bytes("after_k_bytes", n)
	return n, err
}
