package denylist

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestRedact(t *testing.T) {
	t.Parallel()
	mail64 := base64.StdEncoding.EncodeToString([]byte("maria@example.com"))
	for name, c := range map[string]struct{ in, want string }{
		"nothing to hide":           {"batch sent, 3 items", "batch sent, 3 items"},
		"in a sentence":             {"cpf 123.456.789-09 refused", "cpf [redacted:cpf] refused"},
		"two kinds":                 {"maria@example.com at 203.0.113.7", "[redacted:email] at [redacted:ip]"},
		"the label goes too":        {"pay to ag 1234 cc 12345-6 now", "pay to [redacted:account] [redacted:account] now"},
		"query parameter":           {"GET https://h/p?m=maria%40example.com&x=1", "GET https://h/p?m=[redacted:email]&x=1"},
		"base64 with its padding":   {"id " + mail64 + ".", "id [redacted:email]."},
		"login of an address":       {"dial postgres://app:pw@db/x", "dial postgres://[redacted:secret]@db/x"},
		"several spaces, one card":  {"4111 1111 1111 1111 12/28", "[redacted:card] 12/28"},
		"a key hides its string":    {`{"name":"Maria \"M\" Silva","n":1}`, `{"name":"[redacted:key]","n":1}`},
		"a key hides its number":    {`{"account":12345,"n":1}`, `{"account":"[redacted:key]","n":1}`},
		"a key hides its object":    {`{"address":{"street":"X}"},"n":1}`, `{"address":"[redacted:key]","n":1}`},
		"a number becomes a string": {`{"v":12345678909,"w":[12345678909]}`, `{"v":"[redacted:cpf]","w":["[redacted:cpf]"]}`},
		"quotes stay escaped":       {`{"a":"{\"name\":\"Maria\",\"v\":12345678909}"}`, `{"a":"{\"name\":\"[redacted:key]\",\"v\":\"[redacted:cpf]\"}"}`},
		"escaped slash in JSON":     {`{"a":"12.345.678\/0001-95"}`, `{"a":"[redacted:cnpj]"}`},
		"zero width, whole token":   {"x 123\u200b.456.789-09 y", "x [redacted:cpf] y"},
		"key block in JSON":         {`{"k":"-----BEGIN PRIVATE KEY-----\nMII\n","n":1}`, `{"k":"[redacted:private_key]","n":1}`},
		"already redacted":          {"[redacted:cpf] and 12345678909", "[redacted:cpf] and [redacted:cpf]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Redact(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestField(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ key, value, want string }{
		"a denied key":                     {"customerName", "Maria", "[redacted:key]"},
		"a technical key":                  {"tenant_id", "acme", "acme"},
		"a hit under a technical key":      {"tenant_id", "12345678909", "[redacted:cpf]"},
		"a log position of eleven digits":  {"commit_lsn", "12345678909", "12345678909"},
		"no log position":                  {"commit_lsn", "123.456.789-09", "[redacted:cpf]"},
		"a span id that passes for a card": {"span_id", "4111111111111111", "4111111111111111"},
		"no span id":                       {"span_id", "4111 1111 1111 1111", "[redacted:card]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Field(c.key, c.value); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"plain":                  {"batch sent", "batch sent"},
		"accents stay":           {"ação não é erro €", "ação não é erro €"},
		"a forged line":          {"ok\r\nlevel=error", `ok\r\nlevel=error`},
		"terminal colours":       {"\x1b[31mred\x1b[0m", `\x1b[31mred\x1b[0m`},
		"one-byte C1 sequence":   {"a\u009b31m", `a\u009b31m`},
		"NUL, DEL, tab":          {"a\x00b\x7fc\td", `a\x00b\x7fc\td`},
		"bidi and zero width":    {"a\u202eb\u200bc\ufeff", `a\u202eb\u200bc\ufeff`},
		"line separators":        {"a\u2028b\u2029c\u0085d", `a\u2028b\u2029c\u0085d`},
		"invalid UTF-8":          {"a\xffb", `a\xffb`},
		"tag characters":         {"a\U000e0041b", `a\U000e0041b`},
		"a hit beside a control": {"\x1b[1m123.456.789-09\n", `\x1b[1m[redacted:cpf]\n`},
		"a hit split by one":     {"maria@exam\u200bple.com", "[redacted:email]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := Clean(c.in); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

// anyText builds texts out of what scanners meet: hits, near misses, marks,
// encodings of all these, joints, and plain noise.
var anyText = rapid.Custom(func(t *rapid.T) string {
	var all []string
	for _, texts := range hits {
		all = append(all, texts...)
	}
	for _, texts := range misses {
		all = append(all, texts...)
	}
	joints := []string{"", " ", "\n", "\"", `\"`, "\\", "=", ":", ",", "+", "%", "%40", "@", ".", "-", "/", "conta ", "tel ", "cnpj ", "{", "}",
		"[", "]", "Bearer ", "password=", `"name":`, "://", "\u200b", "é", "\xff", "eyJ", "[redacted:", "-----BEGIN ", "\x1b"}
	var encode []func(string) string
	for _, f := range encodings {
		encode = append(encode, f)
	}
	part := rapid.OneOf(rapid.SampledFrom(all), rapid.SampledFrom(joints), rapid.SampledFrom(joints),
		rapid.StringMatching(`[0-9./ -]{1,20}`), rapid.String())
	var out strings.Builder
	for _, s := range rapid.SliceOfN(part, 1, 8).Draw(t, "parts") {
		if rapid.IntRange(0, 9).Draw(t, "encode") == 0 {
			s = rapid.SampledFrom(encode).Draw(t, "how")(s)
		}
		out.WriteString(s)
	}
	return out.String()
})

func TestRedactIsFinal(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) { checkFinal(t, anyText.Draw(t, "text")) })
}

type failer interface{ Fatalf(string, ...any) }

// checkFinal holds the promise of the package for one text.
func checkFinal(t failer, s string) {
	once := Redact(s)
	if k, ok := Find(once); ok {
		t.Fatalf("Redact(%q): got %q, in which %q is left", s, once, k)
	}
	if twice := Redact(once); twice != once {
		t.Fatalf("Redact twice of %q: got %q, want %q", s, twice, once)
	}
	if _, ok := Find(s); ok == (once == s) {
		t.Fatalf("Redact(%q): got %q although Find says %v", s, once, ok)
	}
	line := Clean(s)
	if k, ok := Find(line); ok {
		t.Fatalf("Clean(%q): got %q, in which %q is left", s, line, k)
	}
	if again := Clean(line); again != line || !visible(line) {
		t.Fatalf("Clean twice of %q: got %q, want %q without controls", s, again, line)
	}
}

// Redacting a document as text leaves it a document.
func TestRedactKeepsJSON(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		doc, err := json.Marshal(anyDocument.Draw(t, "document"))
		if err != nil {
			t.Fatal(err)
		}
		if out := Redact(string(doc)); !json.Valid([]byte(out)) {
			t.Fatalf("Redact(%s): got %s, want JSON", doc, out)
		}
	})
}

var anyDocument = rapid.Custom(func(t *rapid.T) any {
	key := rapid.SampledFrom([]string{"name", "v", "event_id", "cpf", "account", "items"})
	leaf := rapid.OneOf(
		rapid.Map(rapid.SampledFrom([]string{"maria@example.com", "12345678909", "a \"quote\"", "é\n123.456.789-09", "x", `c:\new`, "", "+55 11 98765-4321"}), toAny[string]),
		rapid.Map(rapid.SampledFrom([]int{1, 12345678909, 4111111111111111}), toAny[int]),
		rapid.Map(rapid.Bool(), toAny[bool]),
		rapid.Map(rapid.MapOfN(key, rapid.SampledFrom([]any{"Maria", 5, nil, []int{12345678909}}), 0, 3), nested),
	)
	return rapid.MapOfN(key, rapid.OneOf(leaf, rapid.Map(rapid.SliceOfN(leaf, 0, 3), toAny[[]any])), 0, 4).Draw(t, "object")
})

func toAny[T any](v T) any { return v }

// nested is an object, or the text of one as a string.
func nested(m map[string]any) any {
	if len(m)%2 == 0 {
		return m
	}
	doc, _ := json.Marshal(m)
	return string(doc)
}
