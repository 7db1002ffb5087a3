package ofb

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// open prepares everything that outlives a process.
func (s *Server) open() (ca *authority, done func() error, err error) {
	done = func() error { return nil }
	keyPath := ""
	if s.cfg.DataDir != "" {
		if err := os.MkdirAll(s.cfg.DataDir, 0o700); err != nil {
			return nil, done, fmt.Errorf("make data directory: %w", err)
		}
		keyPath = filepath.Join(s.cfg.DataDir, "token-key.pem")
		if done, err = s.store.openJournal(filepath.Join(s.cfg.DataDir, "journal.jsonl")); err != nil {
			return nil, done, err
		}
	}
	key := s.cfg.TokenKey
	if key == nil {
		if key, err = openTokenKey(keyPath); err != nil {
			return nil, done, err
		}
	}
	if s.tokens, err = newIssuer(key, s.cfg.TokenTTL, s.clock.now); err != nil {
		return nil, done, err
	}
	// Certificates live in the machine's time: that is what the clients' TLS checks.
	ca, s.pki, err = openPKI(s.cfg.PKIDir, s.cfg.Directory, time.Now())
	return ca, done, err
}

// Run listens and serves until ctx ends. It can be called once.
func (s *Server) Run(ctx context.Context) (err error) {
	if s.ran.Swap(true) {
		return errors.New("simulator of OFB: Run called twice")
	}
	if s.cfg.PKIDir == "" {
		remove, err := s.choosePKIDir()
		if err != nil {
			return err
		}
		defer remove()
	}
	ca, done, err := s.open()
	defer func() {
		if closed := done(); err == nil {
			err = closed
		}
	}()
	if err != nil {
		return fmt.Errorf("simulator of OFB: %w", err)
	}
	return s.serve(ctx, ca)
}

func (s *Server) choosePKIDir() (remove func(), err error) {
	if s.cfg.DataDir != "" {
		s.cfg.PKIDir = filepath.Join(s.cfg.DataDir, "pki")
		return func() {}, nil
	}
	dir, err := os.MkdirTemp("", "event-runtime-ofb-pki-")
	if err != nil {
		return nil, fmt.Errorf("make PKI directory: %w", err)
	}
	s.cfg.PKIDir = dir
	return func() { _ = os.RemoveAll(dir) }, nil
}
