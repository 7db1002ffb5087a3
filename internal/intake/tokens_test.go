package intake

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A change of files or rows is seen, and what cannot be used is nobody's token
// and is told once.
func TestTokens(t *testing.T) {
	t.Parallel()
	const newToken = "acme-token-of-tomorrow-0123456789-0123"
	with := func(token string) call { return good(token[:12]).with(func(c *call) { c.token = token }) }
	for name, tc := range map[string]struct {
		change func(r *rig)
		token  string
		status int
		told   string // of the log
	}{
		"a second token":      {func(r *rig) { r.token("acme-bank", "next", newToken); r.refresh() }, newToken, 201, ""},
		"and the first still": {func(r *rig) { r.token("acme-bank", "next", newToken); r.refresh() }, acmeToken, 201, ""},
		"a row that is gone": {func(r *rig) {
			r.Exec(`DELETE FROM event_runtime.api_tokens WHERE tenant_id = 'acme-bank'`)
			r.refresh()
		}, acmeToken, 401, ""},
		"a file that is gone, before anybody looks": {func(r *rig) { r.remove("acme") }, acmeToken, 201, ""},
		"a file that is gone":                       {func(r *rig) { r.remove("acme"); r.clock.advance(lookEvery) }, acmeToken, 401, "no such file"},
		"a file with another token":                 {func(r *rig) { r.write("acme", newToken, 0o600); r.clock.advance(lookEvery) }, newToken, 201, ""},
		"and no more the old one":                   {func(r *rig) { r.write("acme", newToken, 0o600); r.clock.advance(lookEvery) }, acmeToken, 401, ""},
		"a file for everybody":                      {func(r *rig) { r.write("acme", acmeToken, 0o644); r.clock.advance(lookEvery) }, acmeToken, 401, "others can read"},
		"a short token":                             {func(r *rig) { r.token("acme-bank", "short", acmeToken[:31]); r.refresh() }, acmeToken[:31], 401, "shorter than 32 bytes"},
		"an empty file":                             {func(r *rig) { r.token("acme-bank", "empty", ""); r.refresh() }, acmeToken, 201, "shorter than 32 bytes"},
		"of two tenants":                            {func(r *rig) { r.token("beta", "shared", acmeToken); r.refresh() }, acmeToken, 401, "another tenant's too"},
		"twice of one":                              {func(r *rig) { r.token("acme-bank", "twice", acmeToken); r.refresh() }, acmeToken, 201, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.created(good("before")) // the tokens have been read
			tc.change(r)
			if got := r.do(with(tc.token)); got.status != tc.status {
				t.Errorf("got %d %s, want %d", got.status, got.body, tc.status)
			}
			r.clock.advance(lookEvery)
			r.do(with(tc.token))
			log := r.log.String()
			told := strings.Count(log, "intake.token_refused")
			if most := strings.Count(log, tc.told); tc.told != "" && (told == 0 || most != told) || tc.told == "" && told > 1 {
				t.Errorf("told %d times, want %q: %s", told, tc.told, log)
			}
			for _, secret := range []string{acmeToken, betaToken, newToken, acmeToken[:31]} {
				if strings.Contains(log, secret) {
					t.Errorf("a token is in the log: %s", log)
				}
			}
		})
	}
}

func (r *rig) write(name, text string, mode os.FileMode) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) remove(name string) {
	r.t.Helper()
	if err := os.Remove(filepath.Join(r.dir, name)); err != nil {
		r.t.Fatal(err)
	}
}
