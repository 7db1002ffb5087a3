package ofb

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

// claims are what a token says.
type claims struct {
	jwt.Claims

	ClientID     string    `json:"client_id"`
	Organisation uuid.UUID `json:"organisation_id"`
	Scope        string    `json:"scope"`
}

// grant is a token as it is handed out.
type grant struct {
	token   string
	expires time.Time
}

const (
	issuerName = "pcm-simulator"
	tokenScope = "profile email"
	tokenBits  = 2048
)

// issuer makes and reads tokens. The cache and the revocations are not kept across
// a restart; the key is, so that tokens in the clients' hands stay good.
type issuer struct {
	key    *rsa.PrivateKey
	signer jose.Signer
	now    func() time.Time
	ttl    time.Duration

	mu      sync.Mutex
	cached  map[string]grant // by client id
	revoked map[string]bool  // by token id
}

func newIssuer(key *rsa.PrivateKey, ttl time.Duration, now func() time.Time) (*issuer, error) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.PS256, Key: key}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return nil, fmt.Errorf("token signer: %w", err)
	}
	return &issuer{key: key, signer: signer, now: now, ttl: ttl, cached: map[string]grant{}, revoked: map[string]bool{}}, nil
}

// openTokenKey finds or makes the signing key; path "" keeps it in memory.
func openTokenKey(path string) (*rsa.PrivateKey, error) {
	if raw, err := os.ReadFile(path); err == nil && path != "" {
		if block, _ := pem.Decode(raw); block != nil {
			if key, err := x509.ParsePKCS8PrivateKey(block.Bytes); err == nil {
				if k, ok := key.(*rsa.PrivateKey); ok {
					return k, nil
				}
			}
		}
		return nil, fmt.Errorf("token key %s is not an RSA key", path)
	}
	key, err := rsa.GenerateKey(rand.Reader, tokenBits)
	if err != nil || path == "" {
		return key, err
	}
	raw, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	return key, writeAtomic(path, raw, 0o600)
}

// current is the cached token while it is valid, however little of it is left.
func (i *issuer) current(clientID string, org uuid.UUID) (grant, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if g, ok := i.cached[clientID]; ok && i.now().Before(g.expires) {
		return g, nil
	}
	return i.renew(clientID, org, i.ttl)
}

// fresh passes over the cache on the way in and fills it on the way out.
func (i *issuer) fresh(clientID string, org uuid.UUID, ttl time.Duration) (grant, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.renew(clientID, org, ttl)
}

// renew is called with mu held.
func (i *issuer) renew(clientID string, org uuid.UUID, ttl time.Duration) (grant, error) {
	now := i.now()
	// A JWT says whole seconds; rounded up, a new token has all of its lifetime left.
	g := grant{expires: now.Add(ttl + time.Second - 1).Truncate(time.Second)}
	c := claims{
		Claims: jwt.Claims{
			Issuer: issuerName, Subject: org.String(), ID: uuid.NewString(),
			IssuedAt: jwt.NewNumericDate(now), Expiry: jwt.NewNumericDate(g.expires),
		},
		ClientID: clientID, Organisation: org, Scope: tokenScope,
	}
	var err error
	if g.token, err = jwt.Signed(i.signer).Claims(c).Serialize(); err != nil {
		return grant{}, fmt.Errorf("sign token: %w", err)
	}
	i.cached[clientID] = g
	return g, nil
}

var errToken = errors.New("token is foreign, expired or revoked")

// verify reads a token that came back. Only our algorithm is accepted.
func (i *issuer) verify(raw string) (claims, error) {
	parsed, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.PS256})
	if err != nil {
		return claims{}, errToken
	}
	var c claims
	if err := parsed.Claims(&i.key.PublicKey, &c); err != nil || c.Expiry == nil || c.Issuer != issuerName {
		return claims{}, errToken
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !i.now().Before(c.Expiry.Time()) || i.revoked[c.ID] {
		return claims{}, errToken
	}
	return c, nil
}

// revoke ends a token before its time. The cache keeps it, which is why clients
// need the fresh endpoint.
func (i *issuer) revoke(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.revoked[id] = true
}
