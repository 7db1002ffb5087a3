// Package credential reads keys and secrets by reference.
//
// Promise: a secret is never part of configuration, an error or a log line; a
//
//	file that others can read is refused; a new certificate is taken without a
//	restart, and only if it is whole.
//
// State:   the last good pair of each reference.
// Failure: a pair that cannot be used leaves the old one in place; the error
//
//	names the reference and the reason.
package credential

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

const mostBytes = 1 << 20

// Read resolves a reference to a secret: file:/path or env:NAME.
func Read(ref string) ([]byte, error) { return read(ref, 0o077) }

// readPublic resolves a reference to what everybody may see, but nobody else may
// change: a certificate.
func readPublic(ref string) ([]byte, error) { return read(ref, 0o022) }

// read refuses a file with any of the forbidden permissions.
func read(ref string, forbidden fs.FileMode) ([]byte, error) {
	kind, name, ok := strings.Cut(ref, ":")
	switch {
	case strings.Contains(ref, "-----BEGIN"):
		return nil, errors.New("credential: a key was given in place of a reference; use file:/path or env:NAME")
	case ok && kind == "file":
		return readFile(name, forbidden)
	case ok && kind == "env":
		value := os.Getenv(name)
		if value == "" {
			return nil, fmt.Errorf("credential env:%s: the variable is not set", name)
		}
		return []byte(value), nil
	default:
		return nil, errors.New("credential: a reference begins with file: or env:, and names a file or a variable")
	}
}

// readFile refuses what somebody else could read or swap.
func readFile(path string, forbidden fs.FileMode) ([]byte, error) {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return nil, fmt.Errorf("credential file:%s: the path must be absolute, without any .. in it", path)
	}
	target, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, fmt.Errorf("credential file:%s: %w", path, bare(err))
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("credential file:%s: %w", path, bare(err))
	}
	if !strings.HasPrefix(target, dir+string(filepath.Separator)) {
		return nil, fmt.Errorf("credential file:%s: it is a link out of its directory", path)
	}
	info, err := os.Stat(target)
	if err != nil {
		return nil, fmt.Errorf("credential file:%s: %w", path, bare(err))
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("credential file:%s: it is not a regular file", path)
	case info.Mode().Perm()&forbidden != 0:
		return nil, fmt.Errorf("credential file:%s: others can read or change it (mode %04o): chmod %04o", path, info.Mode().Perm(), info.Mode().Perm()&^forbidden)
	case info.Size() > mostBytes:
		return nil, fmt.Errorf("credential file:%s: larger than 1 MiB", path)
	}
	body, err := os.ReadFile(target)
	if err != nil {
		return nil, fmt.Errorf("credential file:%s: %w", path, bare(err))
	}
	return body, nil
}

func bare(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// lookEvery bounds how long a rotated certificate goes unseen.
const lookEvery = 10 * time.Second

// Pair is a certificate and its key, kept current.
type Pair struct {
	certificateRef, keyRef string
	now                    func() time.Time

	mu      sync.Mutex
	current *tls.Certificate // guarded by mu, like all below
	looked  time.Time
	serial  string
	onSwap  []func()
	onFail  func(error)
}

// OpenPair reads both references and checks that they belong together and are
// valid now.
func OpenPair(certificateRef, keyRef string, now func() time.Time) (*Pair, error) {
	p := &Pair{certificateRef: certificateRef, keyRef: keyRef, now: now}
	c, err := p.load()
	if err != nil {
		return nil, err
	}
	p.current, p.serial, p.looked = c, c.Leaf.SerialNumber.String(), now()
	return p, nil
}

// OnSwap registers what must happen when another certificate is taken, such as
// forgetting tokens that were bound to the old one; and OnFail what must be told
// when one is refused.
func (p *Pair) OnSwap(f func()) { p.mu.Lock(); p.onSwap = append(p.onSwap, f); p.mu.Unlock() }

// OnFail is called with the reason why a new certificate was refused.
func (p *Pair) OnFail(f func(error)) { p.mu.Lock(); p.onFail = f; p.mu.Unlock() }

// Certificate is the current pair. It looks whether the files have changed.
func (p *Pair) Certificate() *tls.Certificate {
	p.mu.Lock()
	var swapped []func()
	if p.now().Sub(p.looked) >= lookEvery {
		p.looked = p.now()
		c, err := p.load()
		switch {
		case err != nil && p.onFail != nil:
			p.onFail(err)
		case err == nil && c.Leaf.SerialNumber.String() != p.serial:
			p.current, p.serial = c, c.Leaf.SerialNumber.String()
			swapped = p.onSwap
		}
	}
	current := p.current
	p.mu.Unlock()
	for _, f := range swapped {
		f()
	}
	return current
}

// NotAfter is when the current certificate ends.
func (p *Pair) NotAfter() time.Time { return p.Certificate().Leaf.NotAfter }

func (p *Pair) load() (*tls.Certificate, error) {
	certificate, err := readPublic(p.certificateRef)
	if err != nil {
		return nil, err
	}
	key, err := Read(p.keyRef)
	if err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("credential %s: certificate and key do not belong together or cannot be read", p.certificateRef)
	}
	if c.Leaf == nil {
		if c.Leaf, err = x509.ParseCertificate(c.Certificate[0]); err != nil {
			return nil, fmt.Errorf("credential %s: %w", p.certificateRef, err)
		}
	}
	if now := p.now(); now.Before(c.Leaf.NotBefore) || now.After(c.Leaf.NotAfter) {
		return nil, fmt.Errorf("credential %s: the certificate is valid from %s to %s only", p.certificateRef,
			c.Leaf.NotBefore.Format(time.DateOnly), c.Leaf.NotAfter.Format(time.DateOnly))
	}
	return &c, nil
}

// Pool reads certificate authorities from a reference; an empty one means the
// system's.
func Pool(ref string) (*x509.CertPool, error) {
	if ref == "" {
		return nil, nil //nolint:nilnil // nil is what crypto/tls wants for the system's
	}
	body, err := os.ReadFile(strings.TrimPrefix(ref, "file:")) // public, so readable by others
	if err != nil {
		return nil, fmt.Errorf("certificate authorities %s: %w", ref, bare(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(body) {
		return nil, fmt.Errorf("certificate authorities %s: no certificate in it", ref)
	}
	return pool, nil
}
