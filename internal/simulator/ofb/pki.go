package ofb

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// PKI names the files a client needs.
type PKI struct {
	CA            string        `json:"ca"` // verifies both TLS listeners
	Organisations []ClientFiles `json:"organisations"`
}

// ClientFiles are the credentials of one organisation. Key is PKCS #8, mode 0600.
type ClientFiles struct {
	Organisation       string   `json:"organisation"`
	Name               string   `json:"name"`
	ClientID           string   `json:"client_id"`
	SoftwareStatements []string `json:"software_statements"`
	Certificate        string   `json:"certificate"`
	Key                string   `json:"key"`
}

// Of returns the files of one organisation.
func (p PKI) Of(organisation string) (ClientFiles, bool) {
	for _, f := range p.Organisations {
		if f.Organisation == organisation {
			return f, true
		}
	}
	return ClientFiles{}, false
}

// openPKI finds or makes the CA and the client files of d below dir. What is whole
// and still valid is kept: clients hold these files open across our restarts.
func openPKI(dir string, d Directory, now time.Time) (*authority, PKI, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, PKI{}, fmt.Errorf("make PKI directory: %w", err)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, PKI{}, err
	}
	ca, err := openAuthority(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "ca-key.pem"), now)
	if err != nil {
		return nil, PKI{}, err
	}
	files := PKI{CA: filepath.Join(dir, "ca.pem")}
	for _, o := range d.Organisations {
		f := ClientFiles{
			Organisation: o.ID, Name: o.Name, ClientID: o.ClientID, SoftwareStatements: o.SoftwareStatements,
			Certificate: filepath.Join(dir, o.ID+".pem"), Key: filepath.Join(dir, o.ID+"-key.pem"),
		}
		if err := ca.ensureClient(f, now); err != nil {
			return nil, PKI{}, fmt.Errorf("client certificate of %s: %w", o.ID, err)
		}
		files.Organisations = append(files.Organisations, f)
	}
	return ca, files, nil
}

func (a *authority) ensureClient(f ClientFiles, now time.Time) error {
	if pair, err := tls.LoadX509KeyPair(f.Certificate, f.Key); err == nil && a.issued(pair.Leaf, now) {
		return nil
	}
	cert, key, err := a.issue(clientTemplate(f, now))
	if err != nil {
		return err
	}
	return writePair(f.Certificate, f.Key, cert, key)
}

// issued reports whether leaf is ours and will outlast a long test run.
func (a *authority) issued(leaf *x509.Certificate, now time.Time) bool {
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: a.pool, CurrentTime: now.Add(renewBefore), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	return err == nil
}

// writePair writes the key first: a kill in between leaves a pair that does not
// match, which the next start replaces, and never a certificate without a key.
func writePair(certPath, keyPath string, cert, key []byte) error {
	if err := writeAtomic(keyPath, key, 0o600); err != nil {
		return err
	}
	return writeAtomic(certPath, cert, 0o644)
}

// writeAtomic replaces path as a whole: a reader sees the old file or the new one.
func writeAtomic(path string, content []byte, mode os.FileMode) error {
	tmp := path + ".new"
	if err := os.Remove(tmp); err != nil && !os.IsNotExist(err) {
		return err
	}
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
