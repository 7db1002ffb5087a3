package testenv

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/finnest/event-runtime/migrations"
)

// schemaOptions keeps a test's database small, so that its clone is quick: one
// day behind and one ahead (tests cross midnight), one leaf a day.
var schemaOptions = migrations.Options{DaysBehind: 1, DaysAhead: 1, HashModulus: 1}

// migrate is the one place where the schema of test databases comes from. url is
// the superuser's.
func migrate(ctx context.Context, url string) error {
	return migrations.UpWith(ctx, url, schemaOptions)
}

// schemaKey names what migrate would make now. The day is part of it: partitions
// are days.
func schemaKey(now time.Time) (string, error) {
	sum := sha256.New()
	_, _ = fmt.Fprintf(sum, "%+v %s\n", schemaOptions, now.UTC().Format(time.DateOnly))
	sources := []fs.FS{migrations.FS}
	if root, err := moduleRoot(); err == nil {
		sources = append(sources, os.DirFS(filepath.Join(root, "migrations"))) // its Go code makes rows and partitions too
	}
	for _, source := range sources {
		if err := hashFiles(sum, source); err != nil {
			return "", fmt.Errorf("read migrations: %w", err)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func hashFiles(sum interface{ Write([]byte) (int, error) }, source fs.FS) error {
	files, err := fs.Glob(source, "*.*")
	if err != nil {
		return err
	}
	for _, name := range files {
		text, err := fs.ReadFile(source, name)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(sum, "%s %d\n%s", name, len(text), text)
	}
	return nil
}
