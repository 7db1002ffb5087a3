// Package submit moves batches of reports to a regulator and knows what became
// of each.
//
// Promise: no report is sent a second time unless the regulator refused the
//
//	first, or it is proven that it was not stored, or two people decided so. A
//	lost answer is asked about, never guessed.
//
// State:   export_batches and lanes; every move is a compare-and-set.
// Failure: an answer that cannot be recorded is spooled to disk and recorded
//
//	later; nothing is posted again because of it.
package submit

import (
	"context"
	"errors"
	"time"

	"github.com/finnest/event-runtime/internal/event"
	"github.com/finnest/event-runtime/internal/evidence"
)

// Batch is what a regulator is sent: frozen bytes and what they stand for.
type Batch struct {
	ID             event.ID
	TenantID       string
	Ecosystem      string
	API            string
	OrganisationID event.ID // the submitter
	Attempt        int
	EventIDs       []event.ID
	Body           []byte
	PostBy         time.Time // nothing may be written after this
	FreshToken     bool      // the last attempt was answered 401
}

// Kind is which of four things happened to a request.
type Kind string

// The four things.
const (
	NeverSent Kind = "never_sent" // not a byte of it can have been processed
	Refused   Kind = "refused"    // the regulator itself said no to the whole
	Answered  Kind = "receipts"   // one well-formed receipt an item, in order
	Unknown   Kind = "unknown"    // anything else
)

// Code says more. It is a closed set: column, metric label and log field.
type Code string

// Codes by kind. docs/outcomes.md says what each leads to.
const (
	// NeverSent.
	TokenFailed   Code = "token_failed"   // no token to be had
	ConnectFailed Code = "connect_failed" // DNS, connect, proxy or TLS failed, the request was not written
	TooLate       Code = "too_late"       // post_by passed before the first byte
	LocalFault    Code = "local_fault"    // the request could not be built

	// Refused.
	BadRequest   Code = "bad_request"       // 400
	Unauthorized Code = "unauthorized"      // 401
	Forbidden    Code = "forbidden"         // 403
	NotAccepted  Code = "not_acceptable"    // 406
	TooLarge     Code = "too_large"         // 413
	WrongMedia   Code = "unsupported_media" // 415
	RateLimited  Code = "rate_limited"      // 429

	// Answered.
	Receipts Code = "receipts"

	// Unknown.
	AnswerLost       Code = "answer_lost"       // timeout, reset or end of file after the request may have left
	AnswerUnreadable Code = "answer_unreadable" // truncated, not JSON, compressed, too large
	AnswerMismatch   Code = "answer_mismatch"   // wrong length, unknown status, bad or repeated ids, foreign keys
	ForeignAnswer    Code = "foreign_answer"    // a code of the regulator's with somebody else's body
	UnexpectedStatus Code = "unexpected_status" // a status without a documented meaning for the whole
	ServerError      Code = "server_error"      // 5xx
	OwnerLost        Code = "owner_lost"        // whoever posted it is gone
)

// Outcome is what one attempt came to.
type Outcome struct {
	Kind     Kind
	Code     Code
	After    time.Duration      // how long the regulator asked us to wait; 0: it did not say
	Answer   evidence.Answer    // as received
	Receipts []evidence.Receipt // Answered: one an item, in order
	Detail   string             // for a person; never a payload or a secret
}

// Regulator is one reporting body, as a submission sees it.
type Regulator interface {
	// Submit sends b once. It answers which of four things happened, and never
	// sends again by itself.
	Submit(ctx context.Context, b Batch) Outcome
}

// Codec turns events into the bytes of a request and back.
type Codec interface {
	// Encode makes one item. Its error is a *fault.Error whose code says why the
	// event can never be reported.
	Encode(api string, e *event.Envelope) ([]byte, error)
	// Pack makes the request body of items, exactly as it will be sent.
	Pack(api string, items [][]byte) []byte
	// Split finds the items in a body that Pack made.
	Split(api string, body []byte) ([][]byte, error)
	// Limits are the most items and bytes of one request; none for an API that
	// this release does not know.
	Limits(api string) (items, bytes int)
	// Class sorts a refused item by what must be done about it.
	Class(r evidence.Receipt) string
}

// Inquirer is a regulator that can be asked what it already holds.
type Inquirer interface {
	// CanAsk reports whether items of api can be looked up.
	CanAsk(api string) bool
	// Ask looks one item up.
	Ask(ctx context.Context, q Question) Found
	// MaxAge is how old an item may be before the regulator refuses it.
	MaxAge(api string) time.Duration
}

// Adapter is everything submit needs of one ecosystem.
type Adapter interface {
	Reporter
	Regulator
	Codec
	Inquirer
}

// Question is about one item of a batch.
type Question struct {
	TenantID       string
	API            string
	OrganisationID event.ID
	Item           []byte
}

// Found is the answer to a Question.
type Found struct {
	Kind      FoundKind
	Status    evidence.Status
	ReportID  event.ID
	PairedID  event.ID
	CreatedAt time.Time
	Ours      bool // the answer shows our role
	Settled   bool // past ACCEPTED: the regulator has looked for the other side
	Paired    bool
	Discarded bool
	Answer    evidence.Answer
}

// FoundKind is what an answer is worth.
type FoundKind string

// What an answer can be.
const (
	Hit     FoundKind = "hit"
	Absent  FoundKind = "absent"  // the regulator says that it does not know it (yet)
	Nothing FoundKind = "nothing" // no answer that says anything
)

// LaneKey names a lane: what is submitted one request at a time.
type LaneKey struct {
	TenantID       string
	Ecosystem      string
	API            string
	OrganisationID event.ID
}

// ErrMoved means that another worker was first. It is not a failure.
var ErrMoved = errors.New("another worker was first")
