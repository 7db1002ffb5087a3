package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/finnest/event-runtime/internal/credential"
	"github.com/nats-io/nkeys"
)

// Keys gives the public key of each role from its seed in a directory, and makes
// the seeds that are missing. Nobody else may read them.
func Keys(dir string) (map[string]string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keys: %w", err)
	}
	keys := map[string]string{}
	for _, r := range Roles() {
		if r.Password {
			continue
		}
		if keys[r.Name], err = publicKey(SeedFile(dir, r.Name)); err != nil {
			return nil, fmt.Errorf("key of %s: %w", r.Name, err)
		}
	}
	return keys, nil
}

// SeedFile is where a role's seed is.
func SeedFile(dir, role string) string { return filepath.Join(dir, role+".nk") }

func publicKey(path string) (string, error) {
	if err := makeSeed(path); err != nil {
		return "", err
	}
	seed, err := credential.Read("file:" + path)
	if err != nil {
		return "", err
	}
	pair, err := nkeys.FromSeed(bytes.TrimSpace(seed))
	if err != nil {
		return "", fmt.Errorf("%s holds no nkey seed: %w", path, err)
	}
	return pair.PublicKey()
}

// makeSeed writes a new seed where there is none; what is there stays.
func makeSeed(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	defer func() { _ = file.Close() }()
	pair, err := nkeys.CreateUser()
	if err != nil {
		return err
	}
	seed, err := pair.Seed()
	if err != nil {
		return err
	}
	if _, err := file.Write(append(seed, '\n')); err != nil {
		return err
	}
	return file.Sync()
}
