package bridge

import (
	"fmt"
	"strings"
	"time"
)

// Config is how much is taken at once, and from whom.
type Config struct {
	TokenRefs  []string      `env:"TOKEN_REFS"`                        // of bearer tokens; without one there is no bridge
	BatchSize  int           `env:"BATCH_SIZE, default=50"`            // of the sink, at most
	MaxMessage int64         `env:"MAX_MESSAGE_BYTES, default=524288"` // of the largest row; times BatchSize, of a body
	Parallel   int           `env:"PARALLEL, default=4"`               // requests whose body is in memory; others wait
	InFlight   int           `env:"IN_FLIGHT, default=256"`            // messages without a PubAck
	AckTimeout time.Duration `env:"ACK_TIMEOUT, default=10s"`          // then a message counts as not stored
	Timeout    time.Duration `env:"TIMEOUT, default=25s"`              // of a request, its waiting included
}

const (
	mostRows     = 1000             // Sequin's limit of batch_size
	leastMessage = 512 << 10        // what a stream takes: it must get here
	mostMessage  = 8 << 20          // Sequin drops what is larger than 5,000,000 bytes
	sequinWaits  = 30 * time.Second // for an answer; then it sends the batch again
)

// On reports whether there is a bridge.
func (c Config) On() bool { return len(c.TokenRefs) > 0 }

// Check says which variable cannot work, and why; "" when all can.
func (c Config) Check() (name, why string) {
	for _, ref := range c.TokenRefs {
		if !strings.HasPrefix(ref, "file:") && !strings.HasPrefix(ref, "env:") {
			return "TOKEN_REFS", "want references such as file:/etc/event-runtime/bridge.token or env:BRIDGE_TOKEN, never the token"
		}
	}
	switch {
	case c.BatchSize > mostRows:
		return "BATCH_SIZE", fmt.Sprintf("want 1 to %d, the batch_size of the sink", mostRows)
	case c.MaxMessage < leastMessage || c.MaxMessage > mostMessage:
		return "MAX_MESSAGE_BYTES", fmt.Sprintf("want %d to %d", leastMessage, mostMessage)
	case c.AckTimeout >= c.Timeout:
		return "ACK_TIMEOUT", "must be shorter than BRIDGE_TIMEOUT"
	case c.Timeout >= sequinWaits:
		return "TIMEOUT", fmt.Sprintf("must be shorter than %v: then Sequin sends the batch again", sequinWaits)
	}
	return "", ""
}

// mostBytes is the limit of a body. Sequin counts rows, not bytes.
func (c Config) mostBytes() int64 {
	const frame = 1 << 10 // {"data":[]} and commas
	return int64(c.BatchSize)*c.MaxMessage + frame
}
