// Package telemetry makes the logger and the meters.
//
// Promise: nothing that looks like personal data leaves through a log line,
//
//	whatever a caller puts into a field.
//
// State:   none.
// Failure: a line that cannot be read back is dropped, and says so.
package telemetry

import (
	"bytes"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/finnest/event-runtime/internal/denylist"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/rs/zerolog"
)

// LogConfig is how lines look.
type LogConfig struct {
	Level  string `env:"LEVEL, default=info"`
	Format string `env:"FORMAT, default=json"` // json or console
}

// Logger writes one wide line per decision, named in its field event.
func Logger(cfg LogConfig, w io.Writer, service string) zerolog.Logger {
	level, err := zerolog.ParseLevel(cfg.Level)
	if err != nil || level == zerolog.NoLevel { // an empty text is "no level" to zerolog, which would silence errors too
		level = zerolog.InfoLevel
	}
	if cfg.Format == "console" {
		w = zerolog.ConsoleWriter{Out: w, TimeFormat: time.TimeOnly, FieldsExclude: []string{"pid", "service"}}
	}
	return zerolog.New(&redactor{w: w}).Level(level).With().Timestamp().Str("service", service).Int("pid", os.Getpid()).Logger()
}

// redactor is the last stop of every line: it sees all fields, also those that a
// caller forgot to think about.
type redactor struct {
	mu sync.Mutex
	w  io.Writer // guarded by mu
}

var unreadableLine = []byte(`{"level":"error","event":"log.line_dropped"}` + "\n")

func (r *redactor) Write(line []byte) (int, error) {
	clean, err := redact(line)
	if err != nil {
		clean = unreadableLine
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, err := r.w.Write(clean); err != nil {
		return 0, err
	}
	return len(line), nil
}

// redact rewrites one JSON line. Numbers, booleans and the line's own frame pass
// as they are.
func redact(line []byte) ([]byte, error) {
	var out bytes.Buffer
	in := jsontext.NewDecoder(bytes.NewReader(line), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	var names []string // the member each open object or array stands under
	key, isKey := "", false
	for {
		token, err := in.ReadToken()
		if errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		}
		if err != nil {
			return nil, err
		}
		switch token.Kind() {
		case '{', '[':
			names = append(names, key)
			isKey = token.Kind() == '{'
		case '}', ']':
			names = names[:len(names)-1]
			isKey = parentIsObject(in)
		case '"':
			if isKey {
				key, isKey = token.String(), false
				break
			}
			token = jsontext.String(denylist.Field(key, token.String()))
			isKey = parentIsObject(in)
		default:
			if denylist.Key(key) && token.Kind() == '0' {
				token = jsontext.String(denylist.Field(key, token.String()))
			}
			isKey = parentIsObject(in)
		}
		if err := enc.WriteToken(token); err != nil {
			return nil, err
		}
	}
}

// parentIsObject reports that the next token is a name.
func parentIsObject(in *jsontext.Decoder) bool {
	kind, _ := in.StackIndex(in.StackDepth())
	return kind == '{'
}
