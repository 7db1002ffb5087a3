package ofb

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/finnest/event-runtime/internal/tenant"
	"golang.org/x/sync/singleflight"
)

// Rules of the contract's section 3: the platform caches tokens and says how
// much of their life is left.
const (
	tokenPath      = "/token/"       // may answer with the cached token; the last slash is part of it
	freshPath      = "/token-fresh/" // always a new one
	renewLeast     = 10 * time.Minute
	tokenSkew      = 30 * time.Second
	refusedFor     = 5 * time.Second
	mostTokenBytes = 64 << 10
)

// tokens is the token of one organisation.
type tokens struct {
	adapter *Adapter
	tenant  tenant.Credential
	pair    *credential.Pair
	client  *http.Client
	one     singleflight.Group

	mu      sync.Mutex
	value   string // guarded by mu, like all below
	ends    time.Time
	life    time.Duration
	failed  error
	failedU time.Time
}

var errNoCredential = errors.New("no credential is configured for the organisation (credential_refs)")

// tokensOf finds or makes the holder's token cache; a changed reference makes a
// new one.
func (a *Adapter) tokensOf(h holder) (*tokens, error) {
	ref, ok := a.tenants().Credential(h.tenant, "ofb", h.organisation)
	if !ok {
		return nil, errNoCredential
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t := a.tokens[h]; t != nil && t.tenant == ref {
		return t, nil
	}
	pair, err := credential.OpenPair(ref.CertificateRef, ref.KeyRef, a.now)
	if err != nil {
		return nil, err
	}
	secure := &tls.Config{MinVersion: tls.VersionTLS12, SessionTicketsDisabled: true,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return pair.Certificate(), nil }}
	if secure.RootCAs, err = credential.Pool(a.cfg.CAFile); err != nil {
		return nil, err
	}
	client, err := newClient(a.cfg, secure, true)
	if err != nil {
		return nil, err
	}
	client.Timeout = a.cfg.Connect + a.cfg.Handshake + a.cfg.Lookup
	t := &tokens{adapter: a, tenant: ref, pair: pair, client: client}
	pair.OnSwap(t.forget) // a token is bound to the certificate it was had with
	pair.OnFail(func(err error) {
		a.log.Error().Str("event", "certificate.refused").Str("tenant_id", h.tenant).Err(err).Send()
	})
	a.tokens[h] = t
	return t, nil
}

func (t *tokens) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.failed = "", nil
}

// get answers with a token that is good for a while. fresh asks for a new one
// whatever the cache holds: the platform refused the last.
func (t *tokens) get(ctx context.Context, fresh bool) (string, error) {
	t.pair.Certificate() // a rotated certificate forgets the token
	now := t.adapter.now()
	t.mu.Lock()
	value, left, life, failed, since := t.value, t.ends.Sub(now)-tokenSkew, t.life, t.failed, t.failedU
	t.mu.Unlock()
	switch {
	case failed != nil && now.Before(since.Add(refusedFor)):
		return "", failed // do not hammer the auth host
	case value != "" && !fresh && left > max(renewLeast, life/10):
		return value, nil
	}
	path := freshPath
	if value == "" && !fresh {
		path = tokenPath
	}
	got, err, _ := t.one.Do(path, func() (any, error) { return t.renew(context.WithoutCancel(ctx), path) })
	if err != nil && value != "" && !fresh && left > 0 {
		return value, nil // nearly out, and renewal fails: it is still good
	}
	if err != nil {
		return "", err
	}
	return got.(string), nil //nolint:forcetypeassert // renew's own
}

// renew asks the auth host once. A token from the cache with little life left is
// exchanged at once.
func (t *tokens) renew(ctx context.Context, path string) (string, error) {
	value, life, err := t.request(ctx, path)
	if err == nil && path == tokenPath && life-tokenSkew <= renewLeast {
		value, life, err = t.request(ctx, freshPath)
	}
	result := "ok"
	if err != nil {
		result = "failed"
	}
	t.adapter.metrics.refreshed(ctx, result)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.failed, t.failedU = err, t.adapter.now()
		return "", err
	}
	t.value, t.ends, t.life, t.failed = value, t.adapter.now().Add(life), max(t.life, life), nil
	return value, nil
}

func (t *tokens) request(ctx context.Context, path string) (string, time.Duration, error) {
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {t.tenant.ClientID}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(t.adapter.cfg.AuthURL, "/")+path, strings.NewReader(form.Encode()))
	if err != nil {
		return "", 0, fmt.Errorf("token request: %w", err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	res, err := t.client.Do(req)
	if err != nil {
		return "", 0, fmt.Errorf("token request: %w", unURL(err))
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(res.Body, mostTokenBytes))
	if err != nil {
		return "", 0, fmt.Errorf("token answer: %w", err)
	}
	var answer struct {
		AccessToken string  `json:"access_token"`
		ExpiresIn   float64 `json:"expires_in"`
		TokenType   string  `json:"token_type"`
		Message     string  `json:"message"`
		Error       string  `json:"error"`
	}
	parse := json.Unmarshal(body, &answer)
	switch {
	case res.StatusCode != http.StatusOK:
		return "", 0, fmt.Errorf("token refused with status %d %s%s", res.StatusCode, short(answer.Error), short(answer.Message))
	case parse != nil || answer.AccessToken == "" || answer.ExpiresIn <= 0 || !strings.EqualFold(answer.TokenType, "Bearer"):
		return "", 0, errors.New("token answer is not a Bearer token with a life")
	}
	return answer.AccessToken, time.Duration(answer.ExpiresIn * float64(time.Second)), nil
}

// unURL drops the address from a client error: it is configuration, and noise.
func unURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

func short(s string) string {
	if len(s) > 100 {
		s = s[:100]
	}
	return s
}
