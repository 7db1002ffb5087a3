package message

import (
	"encoding/json"
	"math"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNumber(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"0": "0", "-0": "0", "-1": "-1", "1000": "1000",
		"12345678901234567890": "12345678901234567890", "9007199254740993": "9007199254740993",
		"100.0": "100.0", "1e3": "1.0e3", "1000.0": "1.0e3", "1.5e3": "1.5e3", "12345.678": "12345.678",
		"1.0": "1.0", "-0.0": "-0.0", "0.0": "0.0", "199.990": "199.99", "0.1234567890123456789": "0.12345678901234568",
		"1e10": "1.0e10", "1e-7": "1.0e-7", "0.0001": "0.0001", "0.00001": "1.0e-5", "0.012": "0.012", "0.00012": "1.2e-4",
		"1234567890.0": "1234567890.0", "123000.0": "1.23e5", "120.0": "120.0",
		"9007199254740993.0": "9.007199254740992e15", "9007199254740991.0": "9007199254740991.0", "-9007199254740992.0": "-9.007199254740992e15",
		"1e22": "1.0e22", "5e-324": "5.0e-324", "1.7976931348623157e308": "1.7976931348623157e308",
		"1e400": "1e400", "-1.5e999": "-1.5e999", "1e-400": "0.0",
	} {
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			if got := string(appendNumber(nil, []byte(text))); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

// elixir is the rule once more, by another way: both notations are written out
// and their lengths compared.
func elixir(f float64) string {
	plain := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(plain, ".") {
		plain += ".0"
	}
	mantissa, exponent, _ := strings.Cut(strconv.FormatFloat(f, 'e', -1, 64), "e")
	if !strings.Contains(mantissa, ".") {
		mantissa += ".0"
	}
	n, _ := strconv.Atoi(exponent)
	scientific := mantissa + "e" + strconv.Itoa(n)
	if math.Abs(f) >= 1<<53 || len(scientific) < len(plain) {
		return scientific
	}
	return plain
}

func checkNumber(t interface {
	Helper()
	Fatalf(string, ...any)
}, text string) {
	t.Helper()
	got := string(appendNumber(nil, []byte(text)))
	if !json.Valid([]byte(got)) {
		t.Fatalf("%s: got %s, which is no JSON", text, got)
	}
	if !strings.ContainsAny(text, ".eE") {
		in, _ := new(big.Int).SetString(text, 10)
		out, ok := new(big.Int).SetString(got, 10)
		if !ok || in.Cmp(out) != 0 {
			t.Fatalf("%s: got %s, another integer", text, got)
		}
		return
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil { // beyond float64
		if got != text {
			t.Fatalf("%s: got %s, want it as it is", text, got)
		}
		return
	}
	if want := elixir(f); got != want {
		t.Fatalf("%s: got %s, want %s", text, got, want)
	}
	if again, err := strconv.ParseFloat(got, 64); err != nil || math.Float64bits(again) != math.Float64bits(f) {
		t.Fatalf("%s: got %s, another number: %v", text, got, err)
	}
}

func TestFloatsComeBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		f := math.Float64frombits(rapid.Uint64().Draw(t, "bits"))
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return
		}
		checkNumber(t, strconv.FormatFloat(f, 'e', -1, 64))
	})
}

func FuzzNumber(f *testing.F) {
	for _, text := range []string{"0", "-0.0", "1e3", "199.990", "9007199254740993.0", "1e400", "1e-400", "12345678901234567890"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if !json.Valid([]byte(text)) || text == "" || text[0] != '-' && (text[0] < '0' || text[0] > '9') || strings.TrimSpace(text) != text {
			_ = appendNumber(nil, []byte(text)) // anything but a panic
			return
		}
		checkNumber(t, text)
	})
}
