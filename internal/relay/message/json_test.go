package message

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestJSON(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want string }{
		"spaces go":              {`{"a": 1, "b": [true, null, "x y"]}`, `{"a":1,"b":[true,null,"x y"]}`},
		"strings stay":           {`{"a \" : 1.50": "\\", "b": "1.50 \\\" 2.50", "": "\u0001é  "}`, `{"a \" : 1.50":"\\","b":"1.50 \\\" 2.50","":"\u0001é  "}`},
		"fractions are re-read":  {`{"m": 199.990, "n": [1e3, -0.50]}`, `{"m":199.99,"n":[1.0e3,-0.5]}`},
		"integers stay":          {`[12345678901234567890, -7]`, `[12345678901234567890,-7]`},
		"a number at the top":    {`1.0`, `1.0`},
		"a string at the top":    {`"a b"`, `"a b"`},
		"half a string":          {`"abc\"`, `"abc\"`},
		"nothing that is a JSON": {`{]x`, `{]x`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := string(appendJSON(nil, []byte(c.text))); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		text, want string
		ok         bool
	}{
		"an object":           {`{"b": 1.50, "a": "<&>"}`, `{"a":"<&>","b":1.5}`, true},
		"a key that is twice": {`{"a": 1, "a": 2}`, `{"a":2}`, true},
		"a scalar":            {` 7 `, `7`, true},
		"null":                {`null`, `null`, true},
		"half an object":      {`{bad`, ``, false},
		"nothing":             {``, ``, false},
		"two values":          {`1 2`, ``, false},
		"no UTF-8":            {"\"\xff\"", ``, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, ok := Normalize([]byte(c.text))
			if string(got) != c.want || ok != c.ok {
				t.Errorf("got %s, %v, want %s, %v", got, ok, c.want, c.ok)
			}
		})
	}
}

// FuzzJSON re-encodes documents: the value stays, but for fractions, and nothing
// makes it panic.
func FuzzJSON(f *testing.F) {
	for _, text := range []string{`{"a": [1, 2.50, "x \" y", {}]}`, `"\\"`, `-0.0`, `[1e3, 1e400]`, `{"": null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got := appendJSON(nil, text)
		if !json.Valid(text) || !utf8.Valid(text) {
			return
		}
		if len(got) > len(text)+8*bytes.Count(text, []byte("e"))+8*bytes.Count(text, []byte("E"))+2 {
			t.Errorf("%s grew to %s", text, got)
		}
		if in, out := value(t, text), value(t, got); !reflect.DeepEqual(in, out) {
			t.Errorf("%s became %s: got %v, want %v", text, got, out, in)
		}
	})
}

// value reads a document, its numbers in one spelling.
func value(t *testing.T, text []byte) any {
	t.Helper()
	var v any
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	if err := in.Decode(&v); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return spell(v)
}

func spell(v any) any {
	switch v := v.(type) {
	case json.Number:
		if !strings.ContainsAny(string(v), ".eE") {
			return strings.Replace(string(v), "-0", "0", map[bool]int{true: 1}[v == "-0"])
		}
		f, err := strconv.ParseFloat(string(v), 64)
		if err != nil {
			return string(v)
		}
		return f
	case []any:
		for i := range v {
			v[i] = spell(v[i])
		}
	case map[string]any:
		for k := range v {
			v[k] = spell(v[k])
		}
	}
	return v
}
