package denylist

import (
	"strings"
	"testing"
)

var benchmarks = map[string]string{
	"empty":       "",
	"word":        "pcm-ofb",
	"reason":      "submit_unconfirmed",
	"sentence":    "batch sealed by age, 250 items",
	"uuid":        "0198f3c2-7b1a-7c3d-9e4f-8a1b2c3d4e5f",
	"time":        "2026-10-14T12:34:56.789Z",
	"subject":     "events.acme.ofb.consent.advanced",
	"template":    "/open-banking/accounts/v2/accounts/{accountId}",
	"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
	"error":       `dial tcp 127.0.0.1:4222: connect: connection refused`,
	"line":        `{"level":"info","event":"batch.sent","batch_id":"0198f3c2-7b1a-7c3d-9e4f-8a1b2c3d4e5f","reason":"by_age","items":250,"attempt":1,"took":14.5}`,
	"accents":     "ação concluída",
	"percent":     "/a%20b",
	"hit":         "cpf 123.456.789-09 refused",
}

func BenchmarkFind(b *testing.B) {
	for name, s := range benchmarks {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Find(s)
			}
		})
	}
}

func BenchmarkRedact(b *testing.B) {
	for _, name := range []string{"reason", "hit", "line"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Redact(benchmarks[name])
			}
		})
	}
}

func BenchmarkLong(b *testing.B) {
	for name, s := range map[string]string{"line": benchmarks["line"], "percent": "%41", "base64": "QUJD", "wide": "é"} {
		b.Run(name, func(b *testing.B) {
			long := strings.Repeat(s, 1<<20/len(s))
			b.SetBytes(int64(len(long)))
			for b.Loop() {
				Find(long)
			}
		})
	}
}

func BenchmarkKey(b *testing.B) {
	for _, name := range []string{"tenant_id", "customerFullName", "peer_address", "endereço"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				Key(name)
			}
		})
	}
}

func BenchmarkField(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		Field("reason", "submit_unconfirmed")
	}
}

// A log line has a dozen fields; looking at them must not cost an allocation.
func TestFastPathDoesNotAllocate(t *testing.T) {
	for _, name := range []string{"empty", "word", "reason", "sentence", "uuid", "time", "subject", "template", "traceparent", "error", "line"} {
		if n := testing.AllocsPerRun(100, func() { Find(benchmarks[name]) }); n != 0 {
			t.Errorf("%s: got %v allocations, want none", name, n)
		}
	}
	if n := testing.AllocsPerRun(100, func() { Field("customer_ref", "submit_unconfirmed") }); n != 0 {
		t.Errorf("Field: got %v allocations, want none", n)
	}
}
