package bridge

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/rs/zerolog"
)

const lookEvery = 10 * time.Second // bounds how long a token that was taken away is good

// tokens are those that are good. There may be several: Sequin is given the next
// one before the last is taken away.
type tokens struct {
	refs []string
	now  func() time.Time
	log  zerolog.Logger

	mu     sync.Mutex
	looked time.Time // guarded by mu, like all below
	sums   [][sha256.Size]byte
	told   map[string]string // why a reference cannot be used, as it was last said
}

// openTokens refuses what cannot be read.
func openTokens(refs []string, now func() time.Time, log zerolog.Logger) (*tokens, error) {
	t := &tokens{refs: refs, now: now, log: log, looked: now(), told: map[string]string{}}
	for _, ref := range refs {
		sum, err := credential.Token(ref)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ref, err)
		}
		t.sums = append(t.sums, sum)
	}
	return t, nil
}

// known takes as long for every token of a length.
func (t *tokens) known(presented string) bool {
	sum, good := sha256.Sum256([]byte(presented)), 0
	for _, k := range t.current() {
		good |= subtle.ConstantTimeCompare(sum[:], k[:])
	}
	return good == 1
}

// current reads the references again when they may have changed. What cannot be
// read any more is nobody's token.
func (t *tokens) current() [][sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); now.Sub(t.looked) >= lookEvery {
		t.looked, t.sums = now, nil
		for _, ref := range t.refs {
			sum, err := credential.Token(ref)
			if err == nil {
				t.sums = append(t.sums, sum)
			}
			t.tell(ref, err)
		}
	}
	return t.sums
}

// tell says once why a reference cannot be used.
func (t *tokens) tell(ref string, err error) {
	if err == nil {
		delete(t.told, ref)
		return
	}
	if t.told[ref] != err.Error() {
		t.told[ref] = err.Error()
		t.log.Error().Str("event", "bridge.token_refused").Str("reference", ref).Err(err).Send()
	}
}
