package bridge

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

func TestSplit(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	for name, tc := range map[string]struct {
		body string
		want []string // nil: no batch
	}{
		"one":                           {`{"data":[{"a":1}]}`, []string{`{"a":1}`}},
		"several":                       {`{"data":[{"a":1},{"b":[1,2]},{}]}`, []string{`{"a":1}`, `{"b":[1,2]}`, `{}`}},
		"with spaces":                   {" {\n\"data\" : [ {} ,\t{ } ] } \r\n", []string{`{}`, `{ }`}},
		"none":                          {`{"data":[]}`, []string{}},
		"brackets in strings":           {`{"data":[{"a":"]}\"["},{"b":"\\"}]}`, []string{`{"a":"]}\"["}`, `{"b":"\\"}`}},
		"elements that are no objects":  {`{"data":[1,"x",null,[2]]}`, []string{`1`, `"x"`, `null`, `[2]`}},
		"an element that is no JSON":    {`{"data":[{a:1},{}]}`, []string{`{a:1}`, `{}`}},
		"one without end of depth":      {`{"data":[` + deep + `,{}]}`, []string{deep, `{}`}},
		"a bare message":                {`{"record":{},"action":"insert"}`, []string{`{"record":{},"action":"insert"}`}},
		"a bare one that has data":      {`{"data":[1],"record":{}}`, []string{`{"data":[1],"record":{}}`}},
		"data that is no list":          {`{"data":{}}`, []string{`{"data":{}}`}},
		"nothing in it":                 {`{}`, []string{`{}`}},
		"no body":                       {``, nil},
		"a list":                        {`[{}]`, nil},
		"a word":                        {`data`, nil},
		"half of it":                    {`{"data":[{"a":1},`, nil},
		"half a string":                 {`{"data":["a`, nil},
		"more behind it":                {`{"data":[]}{}`, nil},
		"a comma too many":              {`{"data":[{},]}`, nil},
		"a comma too few":               {`{"data":[{} {}]}`, nil},
		"a name that is none":           {`{data:[]}`, nil},
		"brackets that close too early": {`{"data":[}]}`, nil},
	} {
		rows, at := split([]byte(tc.body))
		var got []string
		for _, row := range rows {
			got = append(got, string(row))
		}
		if (at < 0) != (tc.want != nil) || !slices.Equal(got, tc.want) && len(got)+len(tc.want) > 0 {
			t.Errorf("%s: got %.100q at %d, want %.100q", name, got, at, tc.want)
		}
	}
}

// Whatever another reader takes for a batch is one, with the same elements; and
// no body makes the splitter fail.
func FuzzSplit(f *testing.F) {
	for _, seed := range []string{`{"data":[{"a":1},2]}`, `{"data":["\\\""," ]"],"x":1}`, `{"data":[1,]}`, `{"a":{"data":[1]}}`, ` {"data" : [ 1.5e3 , {} ] } `, `{"data":[`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		rows, at := split(body)
		if !json.Valid(body) || body[strings.IndexFunc(string(body), func(c rune) bool { return !strings.ContainsRune(" \t\r\n", c) })] != '{' {
			return
		}
		if at >= 0 {
			t.Fatalf("refused at %d: %q", at, body)
		}
		var members map[string]json.RawMessage
		if err := json.Unmarshal(body, &members); err != nil {
			return
		}
		var want []json.RawMessage
		// Of a name that is there twice, or spelled with escapes, the readers think differently.
		if len(members) != 1 || json.Unmarshal(members["data"], &want) != nil || want == nil || strings.Count(string(body), "data") != 1 {
			return
		}
		if len(rows) != len(want) {
			t.Fatalf("got %d elements of %q, want %d", len(rows), body, len(want))
		}
		for i := range want {
			if string(rows[i]) != string(want[i]) {
				t.Fatalf("element %d of %q: got %q, want %q", i, body, rows[i], want[i])
			}
		}
	})
}
