package ofb

import (
	"fmt"
	"net/http"
	"slices"
)

// Kind is a way in which an exchange goes wrong.
type Kind string

// Faults of the connection: what happens to the bytes.
const (
	LoseRequest Kind = "lose_request" // read whole, then reset; nothing is stored
	LoseAnswer  Kind = "lose_answer"  // stored, then reset without a byte
	CutAnswer   Kind = "cut_answer"   // stored, then the header and Bytes of the body (fewer for a client that reads slowly), then reset
	Delay       Kind = "delay"        // wait Delay, before or after storing (When)
	SlowBody    Kind = "slow_body"    // Bytes at a time (1), Delay between them
)

// Faults of the answer: another one leaves instead. When says whether the request
// was stored first; it was not unless When is "after".
const (
	Status      Kind = "status"       // Code, with the regulator's own body
	ForeignBody Kind = "foreign_body" // Code (403), with the page of a firewall
	Redirect    Kind = "redirect"     // 307 to Location
	Revoke      Kind = "revoke"       // the token is no longer valid from here on
)

// Faults of the body: stored, and the answer is 200 or 207, but not what it should be.
const (
	Truncate         Kind = "truncate"          // valid HTTP, JSON cut at Bytes (half)
	Shuffle          Kind = "shuffle"           // receipts in another order
	DuplicateReceipt Kind = "duplicate_receipt" // one receipt twice, in place of another
	WrongLength      Kind = "wrong_length"      // Extra receipts more, or fewer (-1)
	ForeignIDs       Kind = "foreign_ids"       // report ids of Form
	UnknownStatus    Kind = "unknown_status"    // "RECEIVED", which no document lists
	Gzip             Kind = "gzip"              // compressed without being asked
	Huge             Kind = "huge"              // padded to Bytes (11 MB)
)

// Faults of the platform: the answer is well formed and the world behind it is not.
const (
	DiscardItem  Kind = "discard_item"  // Item (all: -1) is discarded with Message
	DiscardLater Kind = "discard_later" // Item is accepted, and discarded when processed
	Forget       Kind = "forget"        // accepted and answered, and never stored
	Hide         Kind = "hide"          // a lookup answers 404 for what is stored
	ExpiresIn    Kind = "expires_in"    // a new token that lives for Delay only
)

// The operations that a fault can hit.
const (
	OnReport = "report"
	OnLookup = "lookup"
	OnToken  = "token"
)

// Forms of foreign report ids.
const (
	UnknownID   = "unknown"   // well formed, and held by nobody
	EarlierID   = "earlier"   // of the first report ever stored
	MalformedID = "malformed" // no UUID
	EventID     = "event_id"  // right, under the name another regulator uses
)

// Fault is one order to fail. An exchange meets at most one fault: the oldest that
// wants it.
type Fault struct {
	ID           string  `json:"id,omitempty"`  // given by the simulator
	Operation    string  `json:"operation"`     // report, lookup, token
	API          string  `json:"api,omitempty"` // report: private or opendata; empty: either
	Organisation string  `json:"organisation,omitempty"`
	Kind         Kind    `json:"kind"`
	Times        int     `json:"times,omitempty"`       // hits, then spent; 0: until deleted
	Skip         int     `json:"skip,omitempty"`        // exchanges that pass first
	Probability  float64 `json:"probability,omitempty"` // per exchange after those; 0: always

	When         string   `json:"when,omitempty"`           // before (default), after storing
	Delay        Duration `json:"delay,omitempty"`          // delay, slow_body, expires_in
	Bytes        int      `json:"bytes,omitempty"`          // cut_answer, slow_body, truncate, huge
	Code         int      `json:"status,omitempty"`         // status, foreign_body
	RetryAfter   Duration `json:"retry_after,omitempty"`    // status 429 and 503; 0: no header
	RetryAfterAs string   `json:"retry_after_as,omitempty"` // seconds (default), date
	Body         string   `json:"body,omitempty"`           // foreign_body: instead of the page
	Location     string   `json:"location,omitempty"`       // redirect; empty: the same path with a query
	Item         int      `json:"item,omitempty"`           // discard_item, discard_later: from 0; -1: all
	Message      string   `json:"message,omitempty"`        // discard_item; empty: the unmapped error
	Extra        int      `json:"extra,omitempty"`          // wrong_length; 0: one fewer
	Form         string   `json:"form,omitempty"`           // foreign_ids; empty: unknown

	Seen  int64 `json:"seen"` // exchanges this fault looked at
	Hits  int64 `json:"hits"` // exchanges it hit
	Spent bool  `json:"spent,omitempty"`
}

var kindsOf = map[string][]Kind{
	OnReport: {
		LoseRequest, LoseAnswer, CutAnswer, Delay, SlowBody, Status, ForeignBody, Redirect, Revoke, Truncate, Shuffle,
		DuplicateReceipt, WrongLength, ForeignIDs, UnknownStatus, Gzip, Huge, DiscardItem, DiscardLater, Forget,
	},
	OnLookup: {
		LoseRequest, LoseAnswer, CutAnswer, Delay, SlowBody, Status, ForeignBody, Redirect, Revoke, Truncate,
		ForeignIDs, UnknownStatus, Gzip, Huge, Hide,
	},
	OnToken: {
		LoseRequest, LoseAnswer, CutAnswer, Delay, SlowBody, Status, ForeignBody, Redirect, Truncate, Gzip, Huge, ExpiresIn,
	},
}

// validate refuses a fault that could never do what it says: a typing error in a test
// would otherwise look like a client that survives everything.
func (f Fault) validate() error {
	switch kinds := kindsOf[f.Operation]; {
	case !slices.Contains(kinds, f.Kind):
		return fmt.Errorf("operation %q has no fault %q", f.Operation, f.Kind)
	case f.API != "" && (f.Operation != OnReport || f.API != apiPrivate && f.API != apiOpenData):
		return fmt.Errorf("operation %q has no api %q", f.Operation, f.API)
	case f.When != "" && f.When != "before" && f.When != "after":
		return fmt.Errorf("when is before or after, not %q", f.When)
	case f.Kind == Status && (f.Code < 200 || f.Code > 599), f.Kind == ForeignBody && f.Code != 0 && (f.Code < 200 || f.Code > 599):
		return fmt.Errorf("status %d cannot be answered", f.Code)
	case slices.Contains([]Kind{Delay, SlowBody, ExpiresIn}, f.Kind) && f.Delay <= 0:
		return fmt.Errorf("%s needs a delay", f.Kind)
	case f.RetryAfterAs != "" && f.RetryAfterAs != "seconds" && f.RetryAfterAs != "date":
		return fmt.Errorf("retry_after_as is seconds or date, not %q", f.RetryAfterAs)
	case f.Form != "" && !slices.Contains([]string{UnknownID, EarlierID, MalformedID, EventID}, f.Form):
		return fmt.Errorf("unknown form %q", f.Form)
	case f.Probability < 0 || f.Probability > 1 || f.Times < 0 || f.Skip < 0 || f.Bytes < 0 || f.RetryAfter < 0:
		return fmt.Errorf("negative number, or a probability above 1")
	default:
		return nil
	}
}

// is reports whether the exchange met a fault of this kind. No fault is of no kind.
func (f *Fault) is(kind Kind) bool { return f != nil && f.Kind == kind }

// before reports whether the fault strikes ahead of storing and keeps the request
// from being stored.
func (f *Fault) before() bool {
	switch {
	case f == nil:
		return false
	case f.Kind == LoseRequest, f.Kind == Revoke:
		return true
	default:
		return f.replaces() && f.When != "after"
	}
}

// replaces reports whether another answer leaves instead.
func (f *Fault) replaces() bool {
	return f.is(Status) || f.is(ForeignBody) || f.is(Redirect) || f.is(Revoke)
}

// resets reports whether no byte of an answer leaves.
func (f *Fault) resets() bool { return f.is(LoseRequest) || f.is(LoseAnswer) }

// name is the kind for the books.
func (f *Fault) name() string {
	if f == nil {
		return ""
	}
	return string(f.Kind)
}

// code is the status of an answer that replaces the true one.
func (f *Fault) code() int {
	switch {
	case f.Kind == Revoke:
		return http.StatusUnauthorized
	case f.Kind == Redirect:
		return http.StatusTemporaryRedirect
	case f.Kind == ForeignBody && f.Code == 0:
		return http.StatusForbidden
	default:
		return f.Code
	}
}
