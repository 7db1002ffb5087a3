package denylist

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func FuzzRedact(f *testing.F) {
	for _, texts := range hits {
		for _, s := range texts {
			f.Add(s)
		}
	}
	for _, texts := range misses {
		for _, s := range texts {
			f.Add(s)
		}
	}
	for _, encode := range encodings {
		f.Add(encode("cpf 123.456.789-09 maria@example.com"))
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4<<10 {
			t.Skip("long texts are TestWorkIsLinear's business")
		}
		checkFinal(t, s)
		document := strings.HasPrefix(s, "{") || strings.HasPrefix(s, "[")
		if once := Redact(s); document && json.Valid([]byte(s)) && !json.Valid([]byte(once)) {
			t.Fatalf("Redact(%q): got %q, want JSON", s, once)
		}
		Key(s)
		Field(s, s)
		JSON([]byte(s), func(p string) bool { return len(p)%2 == 0 })
		// The same text many times over must not take longer than many times.
		if len(s) > 0 && len(s) < 32 {
			start := time.Now()
			Redact(strings.Repeat(s, 1<<13/len(s)))
			if took := time.Since(start); took > 2*time.Second {
				t.Fatalf("%q repeated to 8 KiB: got %v, want linear work", s, took)
			}
		}
	})
}

// FuzzOracle hides a number among noise that cannot touch it, and wants it found.
func FuzzOracle(f *testing.F) {
	f.Add("before ", " after", uint64(123456789), uint(0))
	f.Add("{\"a\":\"", "\"}", uint64(987654321), uint(3))
	f.Fuzz(func(t *testing.T, before, after string, n uint64, how uint) {
		d := cpfOf(nine(n))
		if strings.Count(d, d[:1]) == len(d) {
			t.Skip()
		}
		masked := d[:3] + "." + d[3:6] + "." + d[6:9] + "-" + d[9:]
		list := []func(string) string{func(s string) string { return s }, wide16, percentAll, unicodeAll, encodings["base64"], encodings["query"]}
		s := before + " " + list[how%uint(len(list))](masked) + " " + after
		if _, ok := Find(s); !ok {
			t.Fatalf("Find(%q): got no hit, want the CPF %s", s, masked)
		}
		if out := Redact(s); strings.Contains(out, masked) {
			t.Fatalf("Redact(%q): got %q, which still shows %s", s, out, masked)
		}
	})
}

func nine(n uint64) string {
	b := []byte("000000000")
	for i := range b {
		b[i] = byte('0' + n%10)
		n /= 10
	}
	return string(b)
}
