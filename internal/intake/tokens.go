package intake

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/finnest/event-runtime/internal/tenant"
	"github.com/rs/zerolog"
)

const lookEvery = 10 * time.Second // bounds how long a token that was taken away is good

var errShared = errors.New("the same token is another tenant's too")

// tokens know whose a token is. What cannot be read is nobody's token: to take a
// token away it is enough to delete its file.
type tokens struct {
	tenants func() *tenant.Snapshot
	now     func() time.Time
	log     zerolog.Logger

	mu     sync.Mutex
	from   *tenant.Snapshot // guarded by mu, like all below
	looked time.Time
	known  []token
	told   map[string]string // why a reference cannot be used, as it was last said
}

// token is a hash: two of them are of one length, and a dump shows none.
type token struct {
	sum    [sha256.Size]byte
	tenant string
}

func newTokens(d Deps) *tokens {
	return &tokens{tenants: d.Tenants, now: d.Now, log: d.Log, told: map[string]string{}}
}

// tenant says whose a token is. It takes as long for every token of a length.
func (t *tokens) tenant(presented string) (string, bool) {
	sum := sha256.Sum256([]byte(presented))
	owner := ""
	for _, k := range t.current() {
		if subtle.ConstantTimeCompare(sum[:], k.sum[:]) == 1 {
			owner = k.tenant
		}
	}
	return owner, owner != ""
}

// current reads the references again when one of them, or a file, may have
// changed.
func (t *tokens) current() []token {
	t.mu.Lock()
	defer t.mu.Unlock()
	snapshot, now := t.tenants(), t.now()
	if snapshot != t.from || now.Sub(t.looked) >= lookEvery {
		t.from, t.looked = snapshot, now
		t.known = t.load(snapshot.Tokens())
	}
	return t.known
}

func (t *tokens) load(references []tenant.Token) (known []token) {
	read := make(map[[sha256.Size]byte]map[string]bool)
	sums := make(map[tenant.Token][sha256.Size]byte, len(references))
	why := map[tenant.Token]error{}
	for _, r := range references {
		sum, err := credential.Token(r.Ref)
		if err != nil {
			why[r] = err
			continue
		}
		if sums[r] = sum; read[sum] == nil {
			read[sum] = map[string]bool{}
		}
		read[sum][r.TenantID] = true
	}
	for _, r := range references {
		sum, ok := sums[r]
		switch {
		case ok && len(read[sum]) > 1:
			why[r] = errShared
		case ok:
			known = append(known, token{sum, r.TenantID})
		}
		t.tell(r, why[r])
	}
	return known
}

// tell says once why a reference cannot be used.
func (t *tokens) tell(r tenant.Token, err error) {
	if err == nil {
		delete(t.told, r.Ref)
		return
	}
	if t.told[r.Ref] != err.Error() {
		t.told[r.Ref] = err.Error()
		t.log.Error().Str("event", "intake.token_refused").Str("tenant_id", r.TenantID).Str("reference", r.Ref).Err(err).Send()
	}
}
