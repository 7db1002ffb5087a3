package denylist

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
)

// Finding is where in a document something must not be shown, and why. It
// never holds the value; a name that itself looks personal is redacted.
type Finding struct {
	Path string // payload.items.0.name; empty for the document as a whole
	Kind Kind
}

// Limits of one walk: a document that needs more is refused all the same.
const (
	mostFindings = 100
	deepest      = 128
)

var errEnough = errors.New("no further findings are wanted")

// JSON reports which fields of doc have a denied name or a value that hits.
// allow says for a path that its name and its own value may stand, as where
// the schema of a type requires clientIp; fields below it are asked about
// themselves. A document that is no JSON is searched as text, without allow.
func JSON(doc []byte, allow func(path string) bool) []Finding {
	w := walk{dec: json.NewDecoder(bytes.NewReader(doc)), allow: allow}
	w.dec.UseNumber()
	err := w.value("", "", 0)
	if err == nil {
		if _, err = w.dec.Token(); errors.Is(err, io.EOF) || errors.Is(err, errEnough) {
			return w.found
		}
	}
	if k, ok := Bytes(doc); ok && !errors.Is(err, errEnough) {
		w.found = append(w.found, Finding{"", k})
	}
	return w.found
}

type walk struct {
	dec   *json.Decoder
	allow func(string) bool
	found []Finding
}

// value reads one value; key is the name under which it stands, if any.
func (w *walk) value(path, key string, level int) error {
	if level > deepest {
		return errors.New("nested too deeply")
	}
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch t := token.(type) {
	case json.Delim:
		w.name(path, key)
		if t == '{' {
			return w.object(path, level)
		}
		return w.array(path, level)
	case string:
		return w.scalar(path, key, t)
	case json.Number:
		return w.scalar(path, key, t.String())
	}
	return nil // null, true and false tell nothing, whatever their name
}

func (w *walk) object(path string, level int) error {
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		key, _ := token.(string)
		at := join(path, key)
		if k, ok := Find(key); ok {
			w.add(at, k)
		}
		if err := w.value(at, key, level+1); err != nil {
			return err
		}
	}
	return w.close()
}

func (w *walk) array(path string, level int) error {
	for i := 0; w.dec.More(); i++ {
		if err := w.value(join(path, strconv.Itoa(i)), "", level+1); err != nil {
			return err
		}
	}
	return w.close()
}

func (w *walk) close() error {
	if len(w.found) >= mostFindings {
		return errEnough
	}
	_, err := w.dec.Token()
	return err
}

func (w *walk) scalar(path, key, value string) error {
	if carries(value) {
		w.name(path, key)
		if k, ok := Find(value); ok && !technicalValue(key, value) {
			w.add(path, k)
		}
	}
	if len(w.found) >= mostFindings {
		return errEnough
	}
	return nil
}

func (w *walk) name(path, key string) {
	if Key(key) {
		w.add(path, DeniedKey)
	}
}

func (w *walk) add(path string, k Kind) {
	if w.allow == nil || !w.allow(path) {
		// Segments that are harmless alone may hit together: 10.0.0.1 in nested arrays.
		w.found = append(w.found, Finding{Redact(path), k})
	}
}

// join adds a segment to a path, fit for a log line and of bounded length.
func join(path, key string) string {
	const longest = 64
	if key = Clean(key); len(key) > longest {
		key = Clean(key[:longest])
	}
	if path == "" {
		return key
	}
	return path + "." + key
}
