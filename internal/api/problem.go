package api

import (
	"encoding/json"
	"net/http"
)

// Problem is an answer that says no, as RFC 9457 has it. Nothing in it is a
// value that the caller sent.
type Problem struct {
	Type          string    `json:"type"` // urn:event-runtime:problem: and Code
	Title         string    `json:"title"`
	Status        int       `json:"status"`
	Detail        string    `json:"detail,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Refusals      []Refusal `json:"refusals,omitempty"`

	Code string `json:"-"` // snake_case and constant: also the metric label and the log field
}

// Refusal is what is wrong with one element of a request.
type Refusal struct {
	Index  int    `json:"index"` // from 0
	Field  string `json:"field"` // such as tenant_id or payload.statusCode
	Reason string `json:"reason"`
	Hint   string `json:"hint,omitempty"`
}

// NewProblem is a problem of the kind code.
func NewProblem(status int, code, title, detail string) *Problem {
	return &Problem{Type: "urn:event-runtime:problem:" + code, Title: title, Status: status, Detail: detail, Code: code}
}

// Write answers with p.
func (p *Problem) Write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p)
}
