package relay

import (
	"bytes"
	"encoding/json"
	"strings"
)

// verdict is what an answer to a publish means for the message.
type verdict int

const (
	notStored verdict = iota // this time
	stored
	duplicate  // stored before
	neverThere // no later attempt can succeed
)

// answer is what JetStream, or the server in its place, said.
type answer struct {
	verdict verdict
	code    string // why not: a closed set
	detail  string
}

// Why a message was not stored.
const (
	noStream    = "no_stream"    // nobody listens to the subject
	wrongStream = "wrong_stream" // another stream does than the one expected
	streamFull  = "stream_full"
	noResources = "no_resources"
	tooLarge    = "too_large"
	brokerError = "server_error"
	unreadable  = "unreadable"
	noAnswer    = "no_answer" // in time
)

// readAnswer reads a PubAck or what comes instead of one. status is the header
// of that name.
func readAnswer(status string, data []byte) answer {
	switch {
	case status == "503":
		return answer{code: noStream}
	case status != "":
		return answer{code: brokerError, detail: "status " + status}
	// Nearly always; and then nothing else is worth its price.
	case bytes.HasPrefix(data, []byte(`{"stream":"`)) && !bytes.Contains(data, []byte(`"error"`)) && !bytes.Contains(data, []byte(`"duplicate"`)):
		return answer{verdict: stored}
	}
	var ack struct {
		Stream    string `json:"stream"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	switch err := json.Unmarshal(data, &ack); {
	case err != nil, ack.Error == nil && ack.Stream == "":
		return answer{code: unreadable}
	case ack.Error != nil:
		return refusal(ack.Error.Code, ack.Error.Description)
	case ack.Duplicate:
		return answer{verdict: duplicate}
	default:
		return answer{verdict: stored}
	}
}

// Error codes of nats-server. storeFailed is the one for any failure to store,
// for want of room too: there the words tell them apart.
const (
	messageTooLarge       = 10054
	streamDoesNotMatch    = 10060
	storeFailed           = 10077
	storageExceeded       = 10047
	insufficientResources = 10023
)

// refusal reads the error of a stream.
func refusal(code int, description string) answer {
	switch {
	case code == messageTooLarge:
		return answer{verdict: neverThere, code: tooLarge, detail: description}
	case code == streamDoesNotMatch:
		return answer{code: wrongStream, detail: description}
	case code == storeFailed && strings.HasPrefix(description, "maximum "):
		return answer{code: streamFull, detail: description}
	case code == storageExceeded || code == insufficientResources:
		return answer{code: noResources, detail: description}
	default:
		return answer{code: brokerError, detail: description}
	}
}
