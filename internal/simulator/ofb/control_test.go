package ofb

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"
)

func TestFaultsOverTheControlListener(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	r := b.control(http.MethodPost, "/_faults", `{"operation":"report","kind":"status","status":503,"when":"after","times":2,"retry_after":"2s"}`)
	if r.status != http.StatusCreated || string(r.body) != `{"id":"f1"}`+"\n" {
		t.Fatalf("got %d %s", r.status, r.body)
	}
	b.wantMessage(b.report(araucaria, b.call(someID)), http.StatusServiceUnavailable, "Internal Server Error")
	var list []Fault
	if err := json.Unmarshal(b.control(http.MethodGet, "/_faults", "").body, &list); err != nil || len(list) != 1 || list[0].Hits != 1 {
		t.Errorf("got %+v (%v), want one fault with one hit", list, err)
	}
	for path, want := range map[string]int{"/_faults/f9": http.StatusNotFound, "/_faults/f1": http.StatusNoContent} {
		if r := b.control(http.MethodDelete, path, ""); r.status != want {
			t.Errorf("DELETE %s: got %d, want %d", path, r.status, want)
		}
	}
	b.wantReceipts(b.report(araucaria, b.call(uuid.NewString())), http.StatusOK, "ACCEPTED")
	for _, body := range []string{`{"operation":"report","kind":"shufle"}`, `{"operation":"report","kind":"shuffle","tmes":1}`, `x`} {
		if r := b.control(http.MethodPost, "/_faults", body); r.status != http.StatusBadRequest {
			t.Errorf("%s: got %d, want 400", body, r.status)
		}
	}
	if id := b.sim.Inject(Fault{Operation: OnToken, Kind: LoseAnswer}); !b.sim.Heal(id) || b.sim.Heal(id) {
		t.Errorf("want fault %s deleted once", id)
	}
	b.sim.Inject(Fault{Operation: OnToken, Kind: LoseAnswer})
	if r := b.control(http.MethodDelete, "/_faults", ""); r.status != http.StatusNoContent || len(b.sim.Faults()) != 0 {
		t.Errorf("got %d and %v, want no fault", r.status, b.sim.Faults())
	}
}

func TestClockOverTheControlListener(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	b.report(araucaria, b.call(someID))
	if r := b.control(http.MethodPost, "/_clock", `{"offset":"1h"}`); string(r.body) != `{"now":"2026-09-10T13:00:00Z","offset":"1h0m0s"}`+"\n" {
		t.Errorf("got %d %s", r.status, r.body)
	}
	b.wantState(araucaria, someID, "UNPAIRED")
	if r := b.control(http.MethodPost, "/_clock", `{"offset":"soon"}`); r.status != http.StatusBadRequest {
		t.Errorf("got %d, want 400", r.status)
	}
	b.sim.SetClock(7 * time.Hour)
	b.wantMessage(b.lookup(araucaria, someID), http.StatusUnauthorized, "Unauthorized")
}

func TestWhereaboutsOverTheControlListener(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := start(t, Config{PKIDir: dir})
	var at Whereabouts
	if err := json.Unmarshal(b.control(http.MethodGet, "/_pki", "").body, &at); err != nil || !reflect.DeepEqual(at, b.sim.whereabouts()) {
		t.Fatalf("got %+v (%v)", at, err)
	}
	if at.CA != filepath.Join(dir, "ca.pem") || len(at.Organisations) < 4 || at.AuthURL == at.APIURL {
		t.Errorf("got %+v", at)
	}
	for _, o := range at.Organisations {
		pair, err := tls.LoadX509KeyPair(o.Certificate, o.Key)
		if err != nil {
			t.Fatal(err)
		}
		if org, err := organisationOf(pair.Leaf); err != nil || org.String() != o.Organisation {
			t.Errorf("got organisation %v (%v), want %s", org, err, o.Organisation)
		}
		if info, _ := os.Stat(o.Key); info.Mode().Perm() != 0o600 {
			t.Errorf("got mode %v of the key, want 0600", info.Mode())
		}
	}
}

func TestPKIIsRepairedNotReplaced(t *testing.T) {
	t.Parallel()
	dir, d := t.TempDir(), DefaultDirectory()
	open := func(now time.Time) (PKI, map[string]string) {
		_, pki, err := openPKI(dir, d, now)
		if err != nil {
			t.Fatal(err)
		}
		files := map[string]string{}
		for _, path := range []string{pki.CA, pki.Organisations[0].Certificate, pki.Organisations[0].Key, pki.Organisations[1].Certificate} {
			raw, _ := os.ReadFile(path)
			files[path] = string(raw)
		}
		return pki, files
	}
	pki, before := open(time.Now())
	if _, again := open(time.Now()); !reflect.DeepEqual(before, again) {
		t.Error("files changed without need")
	}
	// A process killed between key and certificate leaves a pair that does not match.
	other, _ := os.ReadFile(pki.Organisations[1].Key)
	if err := os.WriteFile(pki.Organisations[0].Key, other, 0o600); err != nil {
		t.Fatal(err)
	}
	_, after := open(time.Now())
	for path, content := range after {
		if mine := strings.Contains(path, pki.Organisations[0].Organisation); mine == (content == before[path]) {
			t.Errorf("%s: changed is %v", path, !mine)
		}
	}
	if _, late := open(time.Now().Add(leafLife)); late[pki.CA] != before[pki.CA] || late[pki.Organisations[1].Certificate] == before[pki.Organisations[1].Certificate] {
		t.Error("want new client certificates of the same CA when the old ones run out")
	}
}

func TestCertificatesThatNameNoOrganisation(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		change func(*ClientFiles, *x509.Certificate)
		ok     bool
	}{
		"both say the same":           {func(*ClientFiles, *x509.Certificate) {}, true},
		"only OU":                     {func(_ *ClientFiles, c *x509.Certificate) { c.Subject.ExtraNames = nil }, true},
		"only organizationIdentifier": {func(_ *ClientFiles, c *x509.Certificate) { c.Subject.OrganizationalUnit = nil }, true},
		"neither": {func(_ *ClientFiles, c *x509.Certificate) {
			c.Subject.ExtraNames, c.Subject.OrganizationalUnit = nil, nil
		}, false},
		"they disagree": {func(_ *ClientFiles, c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{ipe} }, false},
		"no UUID":       {func(_ *ClientFiles, c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"treasury"} }, false},
	} {
		ca, _, err := openPKI(t.TempDir(), DefaultDirectory(), time.Now())
		if err != nil {
			t.Fatal(err)
		}
		f := ClientFiles{Organisation: araucaria, Name: "x", ClientID: "y"}
		template := clientTemplate(f, time.Now())
		want.change(&f, template)
		cert, key, err := ca.issue(template)
		if err != nil {
			t.Fatal(err)
		}
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		if org, err := organisationOf(pair.Leaf); (err == nil) != want.ok || want.ok && org.String() != araucaria {
			t.Errorf("%s: got %v (%v)", name, org, err)
		}
	}
}

func TestForeignTokensAreUnauthorized(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	foreign, err := newIssuer(testKey(), time.Hour, b.clock.now)
	if err != nil {
		t.Fatal(err)
	}
	good, err := foreign.fresh("x", uuid.MustParse(araucaria), time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	hmac, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: make([]byte, 32)}, nil)
	hs256, _ := jwt.Signed(hmac).Claims(claims{Organisation: uuid.MustParse(araucaria)}).Serialize()
	rs256er, _ := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: testKey()}, nil)
	rs256, _ := jwt.Signed(rs256er).Claims(claims{Organisation: uuid.MustParse(araucaria)}).Serialize()
	endless, _ := jwt.Signed(foreign.signer).Claims(claims{Organisation: uuid.MustParse(araucaria)}).Serialize()
	parts := strings.Split(good.token, ".")
	for name, header := range map[string]string{
		"none":              "",
		"another scheme":    "Basic " + good.token,
		"not a token":       "Bearer x.y.z",
		"no signature":      "Bearer " + parts[0] + "." + parts[1] + ".",
		"another algorithm": "Bearer " + rs256,
		"a shared secret":   "Bearer " + hs256,
		"without an end":    "Bearer " + endless,
		"unsecured":         "Bearer eyJhbGciOiJub25lIn0." + parts[1] + ".",
	} {
		req := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]")
		if header != "" {
			req.Header.Set("Authorization", header)
		}
		if r := exchange(b.client(""), req); r.status != http.StatusUnauthorized {
			t.Errorf("%s: got %d, want 401", name, r.status)
		}
	}
	req := b.request(http.MethodPost, b.sim.APIURL()+reportsPath, jsonType, "[]")
	req.Header.Set("Authorization", "Bearer "+good.token)
	if r := exchange(b.client(""), req); r.status != http.StatusOK {
		t.Errorf("of the own key: got %d, want 200", r.status)
	}
}

func TestConfigurationsThatAreRefused(t *testing.T) {
	t.Parallel()
	twice := DefaultDirectory()
	twice.Organisations[1].ID = twice.Organisations[0].ID
	bad := DefaultDirectory()
	bad.Organisations[0].SoftwareStatements = []string{"x"}
	for name, cfg := range map[string]Config{
		"a control listener for everybody":      {ControlAddr: "0.0.0.0:0"},
		"a control listener without an address": {ControlAddr: ":0"},
		"an organisation twice":                 {Directory: twice},
		"a software statement that is no UUID":  {Directory: bad},
		"a counterparty of an unknown kind":     {Counterparty: Counterparty{Mode: "sometimes"}},
		"a counterparty with a negative weight": {Counterparty: Counterparty{Mix: map[Mode]int{Equal: -1}}},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: got no error", name)
		}
	}
}

func TestDirectoryFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "directory.json")
	if err := os.WriteFile(path, defaultDirectory, 0o600); err != nil {
		t.Fatal(err)
	}
	if d, err := LoadDirectory(path); err != nil || !reflect.DeepEqual(d, DefaultDirectory()) {
		t.Errorf("got %+v (%v)", d, err)
	}
	for _, content := range []string{`{}`, `{"organisations":[{"id":"1"}]}`, `{"organizations":[]}`, `[`} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := LoadDirectory(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: got %v, want an error that names the file", content, err)
		}
	}
	if _, err := LoadDirectory(path + ".none"); err == nil {
		t.Error("got no error for a missing file")
	}
}

// A request that waits when the server stops is dropped, and was not stored.
func TestStoppingDropsWhoWaits(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	b.token(araucaria)
	b.sim.Inject(Fault{Operation: OnReport, Kind: Delay, Delay: Duration(time.Hour)})
	b.faulty = true
	answered := make(chan reply)
	go func() { answered <- b.report(araucaria, b.call(someID)) }()
	for b.sim.Faults()[0].Hits == 0 { // nothing tells when a request has met a fault
		runtime.Gosched()
	}
	b.stop()
	if r := <-answered; r.err == nil {
		t.Errorf("got %d, want a dropped connection", r.status)
	}
	if got := b.sim.Ledger().Totals; got.Items != 0 {
		t.Errorf("got %+v, want nothing stored", got)
	}
	if err := b.sim.Run(t.Context()); err == nil {
		t.Error("Run can be called twice")
	}
}

func TestAddressesInUse(t *testing.T) {
	t.Parallel()
	b := start(t, Config{})
	taken := strings.TrimPrefix(b.sim.APIURL(), "https://")
	cfg := Config{APIAddr: taken, TokenKey: testKey()}
	if err := cfg.Serve(t.Context(), func(*Server) { t.Error("announced") }); err == nil {
		t.Error("got no error for an address in use")
	}
}
