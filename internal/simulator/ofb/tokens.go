package ofb

import (
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"net/url"
	"time"
)

// tokenAnswer is the SecurityResponse. refresh_expires_in is a string there,
// although its example is a number.
type tokenAnswer struct {
	StatusCode       int    `json:"statusCode"`
	AccessToken      string `json:"access_token"`
	ExpiresIn        int    `json:"expires_in"`
	RefreshExpiresIn string `json:"refresh_expires_in"`
	TokenType        string `json:"token_type"`
	NotBefore        int    `json:"not-before-policy"`
	Scope            string `json:"scope"`
}

const maxTokenBody = 64 << 10

// authRoutes serves the auth listener. The last slash is part of both paths.
func (s *Server) authRoutes(w http.ResponseWriter, r *http.Request) {
	var fresh bool
	switch r.URL.Path {
	case "/token/":
	case "/token-fresh/":
		fresh = true
	default:
		s.deliver(w, own(http.StatusNotFound), nil)
		return
	}
	if r.Method != http.MethodPost {
		s.deliver(w, own(http.StatusMethodNotAllowed).with("Allow", http.MethodPost), nil)
		return
	}
	s.token(w, r, fresh)
}

func (s *Server) token(w http.ResponseWriter, r *http.Request, fresh bool) {
	org, err := organisationOf(r.TLS.PeerCertificates[0])
	if err != nil {
		s.deliver(w, badClientID(), nil)
		return
	}
	clientID, grantType := credentials(r)
	f := s.faults.match(OnToken, "", org)
	s.grants.Add(1)
	s.delay(f, "before")
	var a *answer
	switch owner, known := s.registry.byClient[clientID]; {
	case f.before():
		a = f.replaced(nil, r.URL.Path, s.clock.now())
	case grantType != "client_credentials":
		a = oauthError("unsupported_grant_type", "Unsupported grant_type")
	case clientID == "":
		a = oauthError("invalid_client", "Invalid client credentials")
	case !known || owner != org:
		a = badClientID()
	default:
		a = s.granted(clientID, fresh, f)
	}
	s.delay(f, "after")
	s.deliver(w, f.spoiled(f.replaced(a, r.URL.Path, s.clock.now())), f)
}

func (s *Server) granted(clientID string, fresh bool, f *Fault) *answer {
	org, ttl := s.registry.byClient[clientID], s.cfg.TokenTTL
	issue := func() (grant, error) { return s.tokens.current(clientID, org) }
	if f.is(ExpiresIn) {
		fresh, ttl = true, time.Duration(f.Delay)
	}
	if fresh {
		issue = func() (grant, error) { return s.tokens.fresh(clientID, org, ttl) }
	}
	g, err := issue()
	if err != nil {
		return generic(http.StatusInternalServerError, "Internal server error")
	}
	body, _ := json.Marshal(tokenAnswer{
		StatusCode: http.StatusOK, AccessToken: g.token, ExpiresIn: int(g.expires.Sub(s.clock.now()) / time.Second),
		RefreshExpiresIn: "0", TokenType: "Bearer", Scope: tokenScope,
	})
	return &answer{status: http.StatusOK, body: body}
}

// credentials reads both forms: the manual shows JSON, the OpenAPI a form.
func credentials(r *http.Request) (clientID, grantType string) {
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxTokenBody))
	if err != nil {
		return "", ""
	}
	switch mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType {
	case jsonType:
		var body struct {
			ClientID  string `json:"client_id"`
			GrantType string `json:"grant_type"`
		}
		if json.Unmarshal(raw, &body) != nil {
			return "", ""
		}
		return body.ClientID, body.GrantType
	default:
		form, err := url.ParseQuery(string(raw))
		if err != nil {
			return "", ""
		}
		return form.Get("client_id"), form.Get("grant_type")
	}
}

func badClientID() *answer {
	return &answer{status: http.StatusUnauthorized, body: []byte(`{"statusCode":401,"message":"ClientId is not valid to the orgId"}`)}
}

func oauthError(code, description string) *answer {
	body, _ := json.Marshal(struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}{code, description})
	return &answer{status: http.StatusBadRequest, body: body}
}
