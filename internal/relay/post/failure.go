package post

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"syscall"
	"time"
)

// Why an attempt failed: a closed set, for logs and readiness.
const (
	TimedOut    = "timed_out"
	Unreachable = "unreachable" // nobody answers there, or the connection broke
	Refused     = "refused"     // an answer of 4xx
	Failing     = "failing"     // an answer of 5xx
	Redirected  = "redirected"  // to nowhere, or too often
	BadTarget   = "bad_target"  // a routing function gave what no request can be made of
)

// Failure is an attempt that was not answered with 2xx.
type Failure struct{ Code, Detail string }

func (f *Failure) Error() string { return f.Code + ": " + f.Detail }

func (f *Failure) orNil() error {
	if f == nil {
		return nil
	}
	return f
}

// resend is whether the same request is sent once more, and when.
type resend struct {
	worth bool
	asked time.Duration // by Retry-After
}

func (r resend) delay(random float64) time.Duration {
	if r.asked > 0 {
		return min(r.asked, longestResend)
	}
	return time.Duration((0.85 + 0.3*random) * float64(resendAfter))
}

// passing are the answers after which the request is worth sending again.
var passing = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
	http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

func answered(resp *http.Response) (*Failure, resend) {
	detail := "status " + strconv.Itoa(resp.StatusCode)
	again := resend{worth: slices.Contains(passing, resp.StatusCode)}
	if resp.StatusCode == http.StatusTooManyRequests || resp.StatusCode == http.StatusServiceUnavailable {
		again.asked = retryAfter(resp.Header.Get("Retry-After"), time.Now())
	}
	switch resp.StatusCode / 100 {
	case 2:
		return nil, resend{}
	case 4:
		return &Failure{Refused, detail}, again
	case 5:
		return &Failure{Failing, detail}, again
	default:
		return &Failure{Redirected, detail}, again
	}
}

// retryAfter reads seconds or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(0, seconds), int(longestResend.Seconds()))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, at.Sub(now))
	}
	return 0
}

// broken reads an error of the request. Its text may hold the address, so only
// what is inside is kept.
func broken(err error) (*Failure, resend) {
	var outer *url.Error
	if errors.As(err, &outer) {
		err = outer.Err
	}
	var network net.Error
	switch {
	case errors.Is(err, errTooMany):
		return &Failure{Redirected, err.Error()}, resend{}
	case errors.As(err, &network) && network.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return &Failure{TimedOut, "no answer in time"}, resend{worth: true}
	case errors.Is(err, syscall.ECONNREFUSED):
		return &Failure{Unreachable, "connection refused"}, resend{worth: true}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Failure{Unreachable, "connection closed"}, resend{worth: true}
	default: // names that do not resolve, certificates that do not verify
		return &Failure{Unreachable, fmt.Sprintf("%T: %v", err, err)}, resend{}
	}
}
