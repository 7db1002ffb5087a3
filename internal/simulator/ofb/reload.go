package ofb

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// readLines calls each with every whole line and returns where the last one ends.
// What stands behind it was being written when the process died.
func readLines(f io.Reader, each func([]byte) error) (size int64, err error) {
	r := bufio.NewReaderSize(f, 1<<20)
	for n := 1; ; n++ {
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return size, nil
		}
		if err != nil {
			return size, err
		}
		if n == 1 {
			if string(line) != journalHeader {
				return 0, errors.New("not a journal of this version")
			}
		} else if err := each(bytes.TrimSuffix(line, []byte("\n"))); err != nil {
			return size, fmt.Errorf("line %d: %w", n, err)
		}
		size += int64(len(line))
	}
}

// reload takes one journal line into memory.
func (s *store) reload(line []byte) error {
	if !json.Valid(line) || line[0] != '{' {
		return errors.New("not a JSON object")
	}
	v, _ := first(line)
	r := record{api: apiPrivate}
	var d decoder
	v.members(func(name []byte, v value) {
		switch string(name) {
		case "answered":
			s.noteAnswered(uint64(d.integer(v)))
		case "request":
			r.number = uint64(d.integer(v))
		case "at":
			r.at = fromMillis(d.integer(v))
		case "organisation":
			r.org = d.id(v)
		case "api":
			r.api = string(d.text(v))
		case "http":
			r.http = int(d.integer(v))
		case "fault":
			r.fault = string(d.text(v))
		case "sha256":
			sum, err := hex.DecodeString(string(d.text(v)))
			d.note(err)
			copy(r.sum[:], sum)
		case "items":
			r.items = d.entries(v)
		case "others":
			r.others = d.entries(v)
		}
	})
	if d.err == nil && r.number > 0 {
		s.keep(&r)
	}
	return d.err
}
