package capture

import (
	"encoding/csv"
	"os"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestFromPattern(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		pattern, want string
		ok            bool
	}{
		"method and path":                 {"GET /open-banking/consents/v3/consents/{consentId}", "/open-banking/consents/v3/consents/{consentId}", true},
		"path alone":                      {"/token", "/token", true},
		"method, host and path":           {"POST api.bank.example/token", "/token", true},
		"exactly the path with its slash": {"GET /token/{$}", "/token/", true},
		"a subtree":                       {"GET /open-banking/", "", false},
		"everything":                      {"/", "", false},
		"everything of a host":            {"api.bank.example/", "", false},
		"exactly the root":                {"/{$}", "/", true},
		"the rest of the path":            {"GET /open-banking/{path...}", "", false},
		"no match":                        {"", "", false},
		"tab between the method and path": {"GET\t/token", "/token", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, ok := fromPattern(c.pattern); got != c.want || ok != c.ok {
				t.Errorf("got %q, %v, want %q, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

func TestNormalise(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, want string
		wrong      skipReason
	}{
		"as listed":               {"/open-banking/accounts/v2/accounts/{accountId}", "/open-banking/accounts/v2/accounts/{accountId}", ""},
		"closing slash":           {"/token/", "/token", ""},
		"double slash":            {"/open-banking//accounts", "/open-banking/accounts", ""},
		"method and host":         {"GET api.bank.example/token", "/token", ""},
		"URL":                     {"https://api.bank.example:8443/as/token.oauth2", "/as/token.oauth2", ""},
		"query":                   {"/token?code=secret", "/token", ""},
		"fragment":                {"/token#x", "/token", ""},
		"gin parameter":           {"/consents/:consentId/extends", "/consents/{consentId}/extends", ""},
		"gin rest":                {"/consents/*path", "/consents/{path}", ""},
		"chi regular expression":  {"/consents/{id:[0-9/]{3,}?}/extends", "/consents/{id}/extends", ""},
		"rest of the mux":         {"/consents/{path...}", "/consents/{path}", ""},
		"end of the mux":          {"/consents/{$}", "/consents", ""},
		"root":                    {"/", "/", ""},
		"chi rest":                {"/consents/*", "", skipMalformed},
		"empty":                   {"", "", skipMalformed},
		"no slash":                {"consents", "", skipMalformed},
		"space":                   {"/my consents", "", skipMalformed},
		"percent":                 {"/consents/urn%3Abank", "", skipMalformed},
		"control character":       {"/token\r\nX: y", "", skipMalformed},
		"too long":                {"/" + strings.Repeat("a", 300), "", skipMalformed},
		"an account":              {"/accounts/12345-6", "", skipConcrete},
		"a number":                {"/accounts/7", "", skipConcrete},
		"a UUID":                  {"/accounts/0f0c2f3e-aaaa-4bbb-8ccc-ddddeeeeffff", "", skipConcrete},
		"an id with letters":      {"/accounts/C123456", "", skipConcrete},
		"a taxpayer in a segment": {"/customers/cpf12345678909", "", skipConcrete},
		"a version":               {"/v2/accounts", "/v2/accounts", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got, wrong := normalise(c.text); got != c.want || wrong != c.wrong {
				t.Errorf("got %q, %q, want %q, %q", got, wrong, c.want, c.wrong)
			}
		})
	}
}

// What the regulator lists must come through as it is listed.
func TestNormaliseKeepsTheCatalogue(t *testing.T) {
	t.Parallel()
	file, err := os.Open("../internal/adapters/ofb/data/endpoints.csv")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	rows, err := csv.NewReader(file).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows[1:] {
		template := row[3]
		if got, wrong := normalise(template); got != template || wrong != "" {
			t.Errorf("%s: got %q, %q", template, got, wrong)
		}
	}
}

func TestNormaliseTwiceIsOnce(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`(GET )?[a-z.]{0,5}/[A-Za-z0-9/_.{}:*$?#%-]{0,40}`).Draw(t, "text")
		got, wrong := normalise(text)
		if wrong != "" {
			return
		}
		if !endpointForm.MatchString(got) {
			t.Fatalf("%q: got %q, which the schema refuses", text, got)
		}
		if twice, wrong := normalise(got); twice != got || wrong != "" {
			t.Fatalf("%q: got %q, then %q, %q", text, got, twice, wrong)
		}
	})
}

func TestEachBadTemplateIsToldOnceAndCovered(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for range 3 {
		for _, text := range []string{"/accounts/12345678/owners", "/customers/maria@example.com", "/customers/maria/1", "/maria%20silva", "/a b/" + strings.Repeat("maria", 1000)} {
			if _, why := b.endpoint("SERVER", text); why == "" {
				t.Fatalf("%s was taken", text)
			}
		}
	}
	if got := b.log.lines("capture.not_recordable"); len(got) != 5 {
		t.Fatalf("got %d lines, want 5: %s", len(got), got)
	}
	for _, secret := range []string{"12345678", "maria"} {
		if strings.Contains(b.log.String(), secret) {
			t.Errorf("%q is in the log: %s", secret, b.log)
		}
	}
}
