package route

import (
	"maps"
	"slices"
)

// Request is where a webhook's message goes. What it leaves out is Sequin's
// default: POST, the address of the endpoint itself, no header of its own.
type Request struct {
	Method  string
	Path    string
	Headers map[string]string // they replace headers of the endpoint
}

// Requester routes the rows of one table.
type Requester func(row Row) Request

// RequestFunction makes the Requester for a table with these columns.
type RequestFunction func(columns []string) Requester

// requests are the functions of sink_type webhook, by the name they have in the
// file. The files we ship need none.
var requests = map[string]RequestFunction{}

// LookupRequest finds a function for webhooks.
func LookupRequest(name string) (RequestFunction, bool) {
	f, ok := requests[name]
	return f, ok
}

// RequestNames are the functions for webhooks, for messages to people.
func RequestNames() []string { return slices.Sorted(maps.Keys(requests)) }

// Identify gives the id of a row: its event_id, and the idempotency key where
// there is none.
func Identify(columns []string) func(b []byte, row Row) []byte {
	id := slices.Index(columns, "event_id")
	return func(b []byte, row Row) []byte {
		if present(row, id) {
			return append(b, text(row, id)...)
		}
		return row.appendKey(b)
	}
}
