package ofb

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestTokenCases are the token cases of the regulator's contract, by their numbers there.
func TestTokenCases(t *testing.T) {
	t.Parallel()
	for name, run := range map[string]func(*testing.T, *bench){
		"case 1: a form with client id and grant type gets a token for six hours": func(t *testing.T, b *bench) {
			got := tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria)))
			if got.ExpiresIn != 21600 || got.TokenType != "Bearer" || got.Scope != "profile email" {
				t.Errorf("got %+v, want a bearer token for 21600 s", got)
			}
		},
		"case 2: so does a JSON body": func(t *testing.T, b *bench) {
			files, _ := b.sim.PKI().Of(araucaria)
			body, _ := json.Marshal(map[string]string{"client_id": files.ClientID, "grant_type": "client_credentials"})
			tokenIn(t, b.askToken(araucaria, "/token/", jsonType, string(body)))
		},
		"case 3: without a client certificate there is no handshake": func(t *testing.T, b *bench) {
			r := b.askToken("", "/token/", formType, b.form(araucaria))
			if r.err == nil || !strings.Contains(r.err.Error(), "tls") {
				t.Errorf("got %d (%v), want a TLS error", r.status, r.err)
			}
		},
		"case 4: the client id of another organisation is refused": func(_ *testing.T, b *bench) {
			b.wantMessage(b.askToken(araucaria, "/token/", formType, b.form(ipe)), http.StatusUnauthorized, "ClientId is not valid to the orgId")
		},
		"case 5: another grant type is not supported": func(t *testing.T, b *bench) {
			r := b.askToken(araucaria, "/token/", formType, strings.Replace(b.form(araucaria), "client_credentials", "password", 1))
			if r.status != http.StatusBadRequest || !strings.Contains(string(r.body), `"unsupported_grant_type"`) {
				t.Errorf("got %d %s, want 400 unsupported_grant_type", r.status, r.body)
			}
		},
		"case 6: an hour later the same token has five hours left": func(t *testing.T, b *bench) {
			first := tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria)))
			b.clock.advance(time.Hour)
			again := tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria)))
			if again.AccessToken != first.AccessToken || again.ExpiresIn != 18000 {
				t.Errorf("got another token or %d s, want the same and 18000", again.ExpiresIn)
			}
		},
		"case 7: a fresh token replaces the cached one": func(t *testing.T, b *bench) {
			first := tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria)))
			fresh := tokenIn(t, b.askToken(araucaria, "/token-fresh/", formType, b.form(araucaria)))
			cached := tokenIn(t, b.askToken(araucaria, "/token/", formType, b.form(araucaria)))
			if fresh.AccessToken == first.AccessToken || cached.AccessToken != fresh.AccessToken {
				t.Error("want a new token from /token-fresh/, and that one from /token/ afterwards")
			}
		},
		"case 8: a report without a token or with an expired one is unauthorized": func(_ *testing.T, b *bench) {
			bare := exchange(b.client(""), b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]"))
			b.wantMessage(bare, http.StatusUnauthorized, "Unauthorized")
			b.token(araucaria)
			b.clock.advance(6*time.Hour + time.Second)
			b.wantMessage(b.post(araucaria, "[]"), http.StatusUnauthorized, "Unauthorized")
		},
		"case 9: the report host wants a token and no certificate": func(_ *testing.T, b *bench) {
			b.wantReceipts(b.report(araucaria, b.call(someID)), http.StatusOK, "ACCEPTED")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, start(t, Config{}))
		})
	}
}

const someID = "d78fc4e5-37ca-4da3-adf2-9b082bf92280"

func TestTokenEdges(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, contentType, body string
		status                  int
		want                    string
	}{
		"the last slash is part of the path": {"/token", formType, "", http.StatusNotFound, "Not Found"},
		"credentials absent":                 {"/token/", formType, "grant_type=client_credentials", http.StatusBadRequest, "invalid_client"},
		"grant type absent":                  {"/token/", formType, "client_id=x", http.StatusBadRequest, "unsupported_grant_type"},
		"a body that is no JSON":             {"/token/", jsonType, "{", http.StatusBadRequest, "unsupported_grant_type"},
		"a client id that nobody has":        {"/token-fresh/", formType, "client_id=x&grant_type=client_credentials", http.StatusUnauthorized, "ClientId is not valid"},
		"a body above any token request's":   {"/token/", formType, strings.Repeat("a", maxTokenBody+1), http.StatusBadRequest, "unsupported_grant_type"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := start(t, Config{})
			if r := b.askToken(ipe, c.path, c.contentType, c.body); r.status != c.status || !strings.Contains(string(r.body), c.want) {
				t.Errorf("got %d %s (%v), want %d %q", r.status, r.body, r.err, c.status, c.want)
			}
		})
	}
}
