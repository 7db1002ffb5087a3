package denylist

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	sees := func(paths ...string) func(string) bool {
		return func(p string) bool { return slices.Contains(paths, p) }
	}
	for name, c := range map[string]struct {
		doc   string
		allow func(string) bool
		want  []Finding
	}{
		"nothing":                  {`{"event":"x","n":[1,2,{"a":null}]}`, nil, nil},
		"empty":                    {``, nil, nil},
		"a denied key":             {`{"customer":{"name":"Maria"}}`, nil, []Finding{{"customer.name", DeniedKey}}},
		"key and value":            {`{"cpf":"12345678909"}`, nil, []Finding{{"cpf", DeniedKey}, {"cpf", CPF}}},
		"a number":                 {`{"v":[1,12345678909]}`, nil, []Finding{{"v.1", CPF}}},
		"a document in a string":   {`{"v":"{\"name\":\"Maria\"}"}`, nil, []Finding{{"v", DeniedKey}}},
		"a denied object":          {`{"address":{"street":"X"}}`, nil, []Finding{{"address", DeniedKey}, {"address.street", DeniedKey}}},
		"values that tell nothing": {`{"name":null,"email":true,"phone":"","cpf":"[redacted:cpf]"}`, nil, nil},
		"required by the schema":   {`{"additionalInfo":{"clientIp":"203.0.113.7"}}`, sees("additionalInfo.clientIp"), nil},
		"required here, not there": {`{"a":{"clientIp":"203.0.113.7"},"clientIp":"203.0.113.7"}`, sees("clientIp"), []Finding{{"a.clientIp", DeniedKey}, {"a.clientIp", IP}}},
		"a value in a name":        {`{"maria@example.com":{"n":"10.0.0.1"}}`, nil, []Finding{{"[redacted:email]", Email}, {"[redacted:email].n", IP}}},
		"a control in a name":      {`{"a\nb":{"name":"x"}}`, nil, []Finding{{`a\nb.name`, DeniedKey}}},
		"a top-level string":       {`"12345678909"`, nil, []Finding{{"", CPF}}},
		"the same name twice":      {`{"a":"x","a":"12345678909"}`, nil, []Finding{{"a", CPF}}},
		"a technical position":     {`{"metadata":{"commit_lsn":12345678909,"span_id":"4111111111111111"}}`, nil, nil},
		"cut short":                {`{"a":1,"cpf":"123.456.789-09`, nil, []Finding{{"", DeniedKey}}},
		"no JSON":                  {`cpf 123.456.789-09`, nil, []Finding{{"", CPF}}},
		"trailing data":            {`{"a":1} 123.456.789-09`, nil, []Finding{{"", CPF}}},
		"innocent trailing data":   {`{"a":1} {"b":2}`, nil, nil},
		"too deep":                 {strings.Repeat("[", 10_000) + `"12345678909"`, nil, []Finding{{"", CPF}}},
		"too deep, innocent":       {strings.Repeat("[", 10_000), nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := JSON([]byte(c.doc), c.allow); !slices.Equal(got, c.want) {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestJSONIsBounded(t *testing.T) {
	t.Parallel()
	doc := `["` + strings.Repeat(`12345678909","`, 5000) + `"]`
	if got := len(JSON([]byte(doc), nil)); got != mostFindings {
		t.Errorf("got %d findings, want %d", got, mostFindings)
	}
	long := `{"` + strings.Repeat("k", 5000) + `":"12345678909"}`
	if got := JSON([]byte(long), nil); len(got) != 1 || len(got[0].Path) > 100 {
		t.Errorf("got %v, want one finding with a short path", got)
	}
}

// No finding shows what it found.
func TestJSONNeverShowsValues(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc := quoted(anyText.Draw(t, "value")) + quoted(anyText.Draw(t, "trailing"))
		named := strings.Replace(quoted("v"), "v", strings.Trim(strings.TrimPrefix(quoted(anyText.Draw(t, "name")), `{"v":`), `"}`), 1)
		for _, d := range []string{doc, named, anyText.Draw(t, "noise")} {
			for _, f := range JSON([]byte(d), nil) {
				if k, ok := Find(f.Path); ok {
					t.Fatalf("JSON(%q): got %q in a path, which shows %q", d, f.Path, k)
				}
			}
		}
	})
}
