// Package route decides where the message of a row goes: its subject and headers.
//
// Promise: a function gives what the code of that name in sequin/sequin.yaml
//
//	gives, for every row.
//
// State:   none.
// Failure: a name that is not registered is the caller's error at start; a
//
//	function itself cannot fail.
package route

import (
	"maps"
	"slices"

	"github.com/finnest/event-runtime/internal/relay/message"
	"github.com/finnest/event-runtime/internal/relay/pgoutput"
)

// Row is what a function may look at.
type Row struct {
	Values []pgoutput.Value
	Action message.Action
	LSN    uint64 // of its transaction
	Idx    uint64 // in its transaction
	Key    []byte // the idempotency key where LSN and Idx do not make it: of a backfill
}

// appendKey appends the idempotency key.
func (r *Row) appendKey(b []byte) []byte {
	if r.Key != nil {
		return append(b, r.Key...)
	}
	return message.AppendKey(b, r.LSN, r.Idx)
}

// Routed is where a message goes. Its slices are reused from row to row.
type Routed struct {
	Subject     []byte
	MsgID       []byte // header Nats-Msg-Id
	Traceparent []byte // header traceparent; none when empty
}

// Router routes the rows of one table.
type Router func(to *Routed, row Row)

// Function makes the Router for a table with these columns.
type Function func(columns []string) Router

// LongestSubject is Sequin's limit, which it enforces by trying for ever.
const LongestSubject = 255

// Outbox is the function of the outbox, by its name in sequin/sequin.yaml.
const Outbox = "outbox-subject"

// functions are known by the name they have in the file: its code is in a
// language that only Sequin speaks.
var functions = map[string]Function{
	Outbox: outboxSubject,
}

// Lookup finds a function.
func Lookup(name string) (Function, bool) {
	f, ok := functions[name]
	return f, ok
}

// Names are the functions there are, for messages to people.
func Names() []string { return slices.Sorted(maps.Keys(functions)) }
