package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rs/zerolog"
	"go.opentelemetry.io/otel"
	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// What must never be seen: a valid CPF, an e-mail, a card and a token.
var personal = []string{"529.982.247-25", "52998224725", "maria.silva@example.com", "4111 1111 1111 1111", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"}

// ways are all the ways in which a caller can put a value into a line.
var ways = map[string]func(e *zerolog.Event, value string){
	"a field":             func(e *zerolog.Event, v string) { e.Str("note", v) },
	"the event's name":    func(e *zerolog.Event, v string) { e.Str("event", v) },
	"a list":              func(e *zerolog.Event, v string) { e.Strs("notes", []string{"x", v}) },
	"an error":            func(e *zerolog.Event, v string) { e.Err(errors.New("refused: " + v)) },
	"bytes":               func(e *zerolog.Event, v string) { e.Bytes("note", []byte(v)) },
	"an object":           func(e *zerolog.Event, v string) { e.Dict("call", zerolog.Dict().Str("by", v)) },
	"an object in a list": func(e *zerolog.Event, v string) { e.Array("calls", zerolog.Arr().Dict(zerolog.Dict().Str("by", v))) },
	"anything":            func(e *zerolog.Event, v string) { e.Any("note", map[string]any{"deep": []any{v}}) },
	"text of JSON":        func(e *zerolog.Event, v string) { e.Str("body", `{"who":"`+v+`"}`) },
	"raw JSON":            func(e *zerolog.Event, v string) { e.RawJSON("body", []byte(`{"who":"`+v+`"}`)) },
	"a message":           func(e *zerolog.Event, v string) { e.Str("message", "it was "+v+" again") },
	"in the middle":       func(e *zerolog.Event, v string) { e.Str("note", "by "+v+", twice") },
	"URL-encoded": func(e *zerolog.Event, v string) {
		e.Str("note", strings.ReplaceAll(strings.ReplaceAll(v, "@", "%40"), " ", "%20"))
	},
}

func TestNothingPersonalLeavesByAnyField(t *testing.T) {
	t.Parallel()
	for name, put := range ways {
		for _, value := range personal {
			var out bytes.Buffer
			log := Logger(LogConfig{Level: "info", Format: "json"}, &out, "serve")
			e := log.Info()
			put(e, value)
			e.Int("items", 7).Send()
			line := out.String()
			if strings.Contains(line, value) || strings.Contains(line, strings.ReplaceAll(value, "@", "%40")) || !strings.Contains(line, "[redacted:") {
				t.Errorf("%s: got %s", name, line)
			}
			var fields map[string]any
			if err := json.Unmarshal(out.Bytes(), &fields); err != nil || fields["items"] != float64(7) || fields["service"] != "serve" {
				t.Errorf("%s: got %s, %v, want the rest of the line as it was", name, line, err)
			}
		}
	}
}

// Some names say enough, whatever the value looks like; as a number too.
func TestWhatANameSays(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := Logger(LogConfig{}, &out, "serve")
	log.Warn().Str("cpf", "x").Int64("account_number", 12345).Str("authorization", "Bearer abc").Dict("owner", zerolog.Dict().Str("email", "nobody")).Send()
	if n := strings.Count(out.String(), "[redacted:"); n != 4 {
		t.Errorf("got %d marks in %s, want 4", n, out.String())
	}
	for _, shown := range []string{`"x"`, "12345", "abc", "nobody"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("got %s, want no %s", out.String(), shown)
		}
	}
}

// A person who looks at a screen is spared the same as a program.
func TestTheConsoleIsASinkToo(t *testing.T) {
	t.Parallel()
	for _, value := range personal {
		var out bytes.Buffer
		log := Logger(LogConfig{Level: "info", Format: "console"}, &out, "serve")
		log.Error().Str("note", "by "+value).Send()
		if strings.Contains(out.String(), value) || !strings.Contains(out.String(), "redacted") {
			t.Errorf("got %s", out.String())
		}
	}
}

// Ids, times, counts and codes are what a line is for.
func TestTechnicalFieldsPass(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := Logger(LogConfig{}, &out, "relay")
	log.Info().Str("event", "batch.sent").Str("batch_id", "019a51f0-1c00-7000-8000-0242ac120002").Str("reason", "by_age").Int("items", 5000).Bool("late", true).
		Float64("took", 12.5).Any("nothing", nil).Strs("settings", []string{"EVENTS.max_age"}).Send()
	for _, want := range []string{`"event":"batch.sent"`, `"batch_id":"019a51f0-1c00-7000-8000-0242ac120002"`, `"reason":"by_age"`, `"items":5000`, `"late":true`, `"took":12.5`, `"nothing":null`,
		`"settings":["EVENTS.max_age"]`, `"level":"info"`, `"service":"relay"`, `"pid":`, `"time":"`} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s, want %s in it", out.String(), want)
		}
	}
}

// Whatever is logged is one line of JSON, escaped.
func TestOneLineIsOneLine(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var out bytes.Buffer
		key, value := rapid.String().Draw(t, "key"), rapid.OneOf(rapid.String(), rapid.Just("a\r\nb\x1b[31m\x00\xff")).Draw(t, "value")
		log := Logger(LogConfig{}, &out, "serve")
		log.Info().Str(key, value).Strs("all", []string{value}).Send()
		line, more, _ := strings.Cut(out.String(), "\n")
		if more != "" || !json.Valid([]byte(line)) || strings.ContainsAny(line, "\r\x00\x1b") {
			t.Fatalf("got %q", out.String())
		}
	})
}

func TestALineThatCannotBeReadIsDroppedAndTold(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	n, err := (&redactor{w: &out}).Write([]byte(`{"note":"529.982.247-25"`))
	if err != nil || n != 24 || out.String() != `{"level":"error","event":"log.line_dropped"}`+"\n" {
		t.Errorf("got %d, %v, %s", n, err, out.String())
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, io.ErrShortWrite }

func TestASinkThatFailsIsTold(t *testing.T) {
	t.Parallel()
	if _, err := (&redactor{w: full{}}).Write([]byte(`{}`)); !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("got %v", err)
	}
}

func TestLevels(t *testing.T) {
	t.Parallel()
	for level, want := range map[string]int{"debug": 3, "info": 2, "warn": 1, "error": 0, "nonsense": 2, "": 2} {
		var out bytes.Buffer
		log := Logger(LogConfig{Level: level}, &out, "serve")
		log.Debug().Send()
		log.Info().Send()
		log.Warn().Send()
		if got := strings.Count(out.String(), "\n"); got != want {
			t.Errorf("%s: got %d lines, want %d", level, got, want)
		}
	}
}

// It sets the provider of the whole process, so it is not parallel.
func TestMetersAreOnThePage(t *testing.T) {
	before := otel.GetMeterProvider()
	t.Cleanup(func() { otel.SetMeterProvider(before) })
	page, shutdown, err := Meters()
	if err != nil {
		t.Fatal(err)
	}
	counter, err := otel.Meter("test").Int64Counter("event_runtime_test_total")
	if err != nil {
		t.Fatal(err)
	}
	counter.Add(t.Context(), 3)
	w := httptest.NewRecorder()
	page.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), "GET", "/metrics", nil))
	for _, want := range []string{"\nevent_runtime_test_total 3\n", "\ngo_goroutines ", "\nprocess_start_time_seconds "} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("want %q on the page", want)
		}
	}
	if err := shutdown(t.Context()); err != nil {
		t.Errorf("at the end: %v", err)
	}
}
