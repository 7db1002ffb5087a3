package ofb

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// answer is one HTTP answer before it meets the wire.
type answer struct {
	status int
	header map[string]string
	body   []byte
}

const jsonType = "application/json"

// generic is the platform's error body: a message and nothing else.
func generic(status int, message string) *answer {
	body, _ := json.Marshal(struct {
		Message string `json:"message"`
	}{message})
	return &answer{status: status, body: body}
}

// ownMessages are the words that belong to a status.
var ownMessages = map[int]string{
	http.StatusBadRequest:            "Invalid payload format: MUST be an array",
	http.StatusUnauthorized:          "Unauthorized",
	http.StatusForbidden:             "Forbidden",
	http.StatusNotFound:              "Not Found",
	http.StatusMethodNotAllowed:      "Method Not Allowed",
	http.StatusNotAcceptable:         "Content type not accepted",
	http.StatusRequestEntityTooLarge: "Record limit exceeded",
	http.StatusUnsupportedMediaType:  "Unsupported Media Type",
	http.StatusTooManyRequests:       "Too Many Requests",
}

// own is the platform's answer with this status.
func own(status int) *answer {
	message, ok := ownMessages[status]
	switch {
	case ok:
	case status >= 500:
		message = "Internal Server Error"
	default:
		message = http.StatusText(status)
	}
	return generic(status, message)
}

// with adds a header and gives the answer back.
func (a *answer) with(name, value string) *answer {
	if a.header == nil {
		a.header = map[string]string{}
	}
	a.header[name] = value
	return a
}

// retryAfter writes the two forms HTTP knows.
func (a *answer) retryAfter(wait time.Duration, asDate bool, now time.Time) {
	seconds := int64((wait + time.Second - 1) / time.Second)
	value := strconv.FormatInt(seconds, 10)
	if asDate {
		value = now.Add(time.Duration(seconds) * time.Second).UTC().Format(http.TimeFormat)
	}
	a.with("Retry-After", value)
}

const firewallPage = `<!DOCTYPE html>
<html><head><title>Request Rejected</title></head>
<body>The requested URL was rejected. Please consult with your administrator.<br><br>Your support ID is: 8713562190048124577</body></html>
`

// replaced is what leaves instead of a when f replaces answers.
func (f *Fault) replaced(a *answer, path string, now time.Time) *answer {
	switch {
	case f.is(Status), f.is(Revoke):
		b := own(f.code())
		if f.RetryAfter > 0 {
			b.retryAfter(time.Duration(f.RetryAfter), f.RetryAfterAs == "date", now)
		}
		return b
	case f.is(ForeignBody):
		b := &answer{status: f.code(), body: []byte(firewallPage)}
		if f.Body != "" {
			b.body = []byte(f.Body)
		}
		return b.with("Content-Type", "text/html; charset=utf-8")
	case f.is(Redirect):
		location := f.Location
		setDefault(&location, path+"?moved=1")
		return own(f.code()).with("Location", location)
	default:
		return a
	}
}

const hugeBody = 11 << 20

// spoiled is a with the faults of the body applied.
func (f *Fault) spoiled(a *answer) *answer {
	switch {
	case f.is(Truncate):
		n := f.Bytes
		setDefault(&n, len(a.body)/2)
		a.body = a.body[:min(n, len(a.body))]
	case f.is(Gzip):
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		_, _ = z.Write(a.body) // into memory
		_ = z.Close()
		a.body = b.Bytes()
		a.with("Content-Encoding", "gzip")
	case f.is(Huge):
		n := f.Bytes
		setDefault(&n, hugeBody)
		if pad := n - len(a.body); pad > 0 {
			last := len(a.body) - 1 // before the closing bracket: who stops reading early has no valid JSON
			a.body = append(append(a.body[:last:last], bytes.Repeat([]byte(" "), pad)...), a.body[last])
		}
	}
	return a
}
