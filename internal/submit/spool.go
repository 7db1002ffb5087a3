package submit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Spool keeps answers on disk that the database could not take. Each is a file
// that appears whole or not at all, readable by its owner only: it holds what
// the regulator said, so receipts, not payloads.
type Spool struct{ dir string }

// OpenSpool makes the directory.
func OpenSpool(dir string) (*Spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make spool directory: %w", err)
	}
	return &Spool{dir: dir}, nil
}

// Keep writes r durably.
func (s *Spool) Keep(r Result) error {
	body, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("spool answer: %w", err)
	}
	name := filepath.Join(s.dir, fmt.Sprintf("%s-%d", r.Batch, r.Attempt))
	f, err := os.OpenFile(name+".part", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("spool answer: %w", err)
	}
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("spool answer: %w", err)
	}
	return os.Rename(name+".part", name+".json")
}

// Drain records every spooled answer. One that its batch has moved past is kept
// under another name: it is evidence, and somebody should look at it.
func (s *Spool) drain(ctx context.Context, record func(context.Context, Result) error) (recorded int, err error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return 0, fmt.Errorf("read spool: %w", err)
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".json") {
			continue
		}
		name := filepath.Join(s.dir, e.Name())
		var r Result
		body, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // another process shares the directory
		}
		if err == nil {
			err = json.Unmarshal(body, &r)
		}
		if err != nil {
			return recorded, fmt.Errorf("read spooled answer %s: %w", e.Name(), err)
		}
		switch err := record(ctx, r); {
		case errors.Is(err, ErrMoved):
			err = os.Rename(name, strings.TrimSuffix(name, ".json")+".superseded")
			if err != nil {
				return recorded, fmt.Errorf("set spooled answer aside: %w", err)
			}
		case err != nil:
			return recorded, err
		default:
			recorded++
			if err := os.Remove(name); err != nil {
				return recorded, fmt.Errorf("remove spooled answer: %w", err)
			}
		}
	}
	return recorded, nil
}
