package denylist

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"
)

// samples has one plain text of each kind, long enough to be worth encoding.
var samples = map[Kind]string{
	CPF: "123.456.789-09", CNPJ: "12.ABC.345/01DE-35", Card: "4111 1111 1111 1111", Phone: "+55 (11) 98765-4321",
	Account: "conta: 12345-6", Email: "maria@example.com", IP: "203.0.113.77", JWT: jwt, Bearer: "Bearer abcdef0123456789",
	PrivateKey: "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----", Secret: "password=hunter2",
	DeniedKey: `{"nome":"Maria"}`, PIX: "0014br.gov.bcb.pix011112345678909",
}

// encodings are the disguises of the contract, alone and combined.
var encodings = map[string]func(string) string{
	"as it is":                    func(s string) string { return s },
	"full-width":                  wide16,
	"zero-width between":          func(s string) string { return strings.Join(strings.Split(s, ""), "\u200b") },
	"soft hyphen and joiner":      func(s string) string { return strings.Join(strings.Split(s, ""), "\u00ad\u200d") },
	"query":                       url.QueryEscape,
	"path":                        url.PathEscape,
	"every byte in percent":       percentAll,
	"query, twice":                func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"base64":                      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 without padding":      func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64url":                   func(s string) string { return base64.URLEncoding.EncodeToString([]byte(s)) },
	"base64url without padding":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 in a name":            func(s string) string { return "user_id-" + base64.RawStdEncoding.EncodeToString([]byte(s)) },
	"base64 in a path":            func(s string) string { return "/a/b/" + base64.RawURLEncoding.EncodeToString([]byte(s)) + "/c" },
	"base64 of full-width":        func(s string) string { return base64.StdEncoding.EncodeToString([]byte(wide16(s))) },
	"base64 in a query":           func(s string) string { return url.QueryEscape(base64.StdEncoding.EncodeToString([]byte(s))) },
	"query in base64":             func(s string) string { return base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(s))) },
	"JSON in a string":            func(s string) string { return quoted(quoted(s)) },
	"JSON, three deep":            func(s string) string { return quoted(quoted(quoted(s))) },
	"JSON with unicode escapes":   func(s string) string { return `{"v":"` + unicodeAll(s) + `"}` },
	"JSON with escaped slashes":   func(s string) string { return strings.ReplaceAll(quoted(s), "/", `\/`) },
	"full-width in JSON, twice":   func(s string) string { return quoted(quoted(wide16(s))) },
	"query in JSON":               func(s string) string { return quoted(url.QueryEscape(s)) },
	"base64 in JSON":              func(s string) string { return quoted(base64.StdEncoding.EncodeToString([]byte(s))) },
	"percent of every full-width": func(s string) string { return percentAll(wide16(s)) },
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	for name, encode := range encodings {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for kind, plain := range samples {
				s := "before " + encode(plain) + " after"
				if got, ok := Find(s); !ok {
					t.Errorf("Find(%q): got no hit, want %q", s, kind)
				} else if got != kind && !alsoTrue(plain, got) {
					t.Errorf("Find(%q): got %q, want %q", s, got, kind)
				}
				out := Redact(s)
				if got, ok := Find(out); ok {
					t.Errorf("Redact(%q): got %q, in which %q is left", s, out, got)
				}
				if !strings.HasPrefix(out, "before ") && kind != DeniedKey {
					t.Errorf("Redact(%q): got %q, want what stood before to stay", s, out)
				}
			}
		})
	}
}

// alsoTrue allows for a sample that is of two kinds, as a bearer token in JSON is.
func alsoTrue(plain string, k Kind) bool {
	return strings.HasPrefix(plain, "Bearer") && k == Secret
}

func TestDeeperThanPromised(t *testing.T) {
	t.Parallel()
	s := "maria@example.com"
	for range depth {
		s = percentAll(s)
	}
	if _, ok := Find(s); !ok {
		t.Errorf("Find after %d layers: got no hit, want email", depth)
	}
	if got, ok := Find(percentAll(s)); ok {
		t.Errorf("Find after %d layers: got %q, want no hit: the work is bounded", depth+1, got)
	}
}

func TestScriptsAndDashes(t *testing.T) {
	t.Parallel()
	for name, s := range map[string]string{
		"Arabic-Indic digits":   "١٢٣.٤٥٦.٧٨٩-٠٩",
		"Devanagari digits":     "१२३४५६७८९०९",
		"mathematical digits":   "𝟏𝟐𝟑𝟒𝟓𝟔𝟕𝟖𝟗𝟎𝟗",
		"en dash":               "123.456.789–09",
		"minus sign":            "123.456.789−09",
		"no-break space":        "4111\u00a01111\u00a01111\u00a01111",
		"division slash":        "12.345.678∕0001-95",
		"combining accents":     "1\u03012345678909",
		"bidi override":         "\u202e123.456\u202c.789-09",
		"surrogate pairs":       `\ud835\udfcf\ud835\udfd0\ud835\udfd1456789-09`,
		"Go and Python escapes": `\x31\x32\x33.456.789-09`,
		"small and full stop":   "123．456﹒789-09",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, ok := Find(s); !ok {
				t.Errorf("Find(%q): got no hit, want one", s)
			}
			if out := Redact("a " + s + " b"); !strings.HasPrefix(out, "a [") || !strings.HasSuffix(out, "] b") {
				t.Errorf("Redact: got %q, want only the token replaced", out)
			}
		})
	}
}

func wide16(s string) string {
	return strings.Map(func(r rune) rune {
		if r > ' ' && r < 0x7f && r != '"' {
			return r + 0xfee0
		}
		return r
	}, s)
}

func percentAll(s string) string {
	var out strings.Builder
	for _, c := range []byte(s) {
		fmt.Fprintf(&out, "%%%02X", c)
	}
	return out.String()
}

func unicodeAll(s string) string {
	var out strings.Builder
	for _, c := range s {
		if c < utf8.RuneSelf {
			fmt.Fprintf(&out, `\u%04x`, c)
		}
	}
	return out.String()
}

// quoted is a JSON document that holds s as a string.
func quoted(s string) string {
	doc, err := json.Marshal(map[string]string{"v": s})
	if err != nil {
		panic(err)
	}
	return string(doc)
}
