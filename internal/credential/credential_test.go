package credential

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// keys are two that the tests share: making them takes long.
var keys = sync.OnceValue(func() (two [2]*rsa.PrivateKey) {
	for n := range two {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		if err != nil {
			panic(err)
		}
		two[n] = key
	}
	return two
})

// pair makes the PEM of a certificate of a key, and of a key.
func pair(t *testing.T, serial int64, from, to time.Time, of, key *rsa.PrivateKey) (certificate, private []byte) {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "acme"}, NotBefore: from, NotAfter: to}
	der, err := x509.CreateCertificate(rand.Reader, template, template, of.Public(), of)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func good(t *testing.T, serial int64) (certificate, private []byte) {
	t.Helper()
	return pair(t, serial, now.Add(-time.Hour), now.Add(time.Hour), keys()[0], keys()[0])
}

func write(t *testing.T, path string, body []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, body, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask says
		t.Fatal(err)
	}
}

// silent fails when an error shows what it is about.
func silent(t *testing.T, err error, secrets ...[]byte) {
	t.Helper()
	for _, secret := range secrets {
		for _, line := range bytes.Split(secret, []byte("\n")) {
			if err != nil && len(line) > 8 && !bytes.HasPrefix(line, []byte("-----")) && strings.Contains(err.Error(), string(line)) {
				t.Errorf("the secret is in the error: %v", err)
			}
		}
	}
}

func TestReferences(t *testing.T) {
	secret := []byte("hunter2-and-some-more")
	t.Setenv("CREDENTIAL_TEST", string(secret))
	t.Setenv("CREDENTIAL_EMPTY", "")
	_, private := good(t, 1)
	for name, tc := range map[string]struct {
		make func(dir string) (ref string)
		want string // of the error; nothing: it is read
		said bool   // the error names the reference
	}{
		"a file of its owner":          {func(dir string) string { write(t, dir+"/key", secret, 0o600); return "file:" + dir + "/key" }, "", false},
		"a file that may only be read": {func(dir string) string { write(t, dir+"/key", secret, 0o400); return "file:" + dir + "/key" }, "", false},
		"a link in its directory": {func(dir string) string {
			write(t, dir+"/v1", secret, 0o600)
			link(t, dir+"/v1", dir+"/key")
			return "file:" + dir + "/key"
		}, "", false},
		"a variable":                   {func(string) string { return "env:CREDENTIAL_TEST" }, "", false},
		"a key instead of a reference": {func(string) string { return string(private) }, "a key was given in place of a reference", false},
		"a key behind a scheme":        {func(string) string { return "env:" + string(private) }, "a key was given in place of a reference", false},
		"a password instead of one":    {func(string) string { return string(secret) }, "a reference begins with file: or env:", false},
		"an unknown scheme":            {func(string) string { return "vault:" + string(secret) }, "a reference begins with file: or env:", false},
		"nothing":                      {func(string) string { return "" }, "a reference begins with file: or env:", false},
		"a variable that is not set":   {func(string) string { return "env:CREDENTIAL_NOT_SET" }, "the variable is not set", true},
		"a variable that is empty":     {func(string) string { return "env:CREDENTIAL_EMPTY" }, "the variable is not set", true},
		"a file that is not there":     {func(dir string) string { return "file:" + dir + "/key" }, "no such file", true},
		"a file that the world reads":  {func(dir string) string { write(t, dir+"/key", secret, 0o644); return "file:" + dir + "/key" }, "others can read or change it (mode 0644): chmod 0600", true},
		"a file that the group reads":  {func(dir string) string { write(t, dir+"/key", secret, 0o640); return "file:" + dir + "/key" }, "chmod 0600", true},
		"a file that others may write": {func(dir string) string { write(t, dir+"/key", secret, 0o602); return "file:" + dir + "/key" }, "chmod 0600", true},
		"a directory":                  {func(dir string) string { return "file:" + dir }, "it is not a regular file", true},
		"a relative path":              {func(string) string { return "file:key" }, "the path must be absolute, without any ..", true},
		"a path that goes up":          {func(dir string) string { return "file:" + dir + "/../key" }, "the path must be absolute, without any ..", true},
		"a link out of its directory": {func(dir string) string {
			outside := t.TempDir()
			write(t, outside+"/key", secret, 0o600)
			link(t, outside+"/key", dir+"/key")
			return "file:" + dir + "/key"
		}, "it is a link out of its directory", true},
		"a link to nothing": {func(dir string) string { link(t, dir+"/gone", dir+"/key"); return "file:" + dir + "/key" }, "no such file", true},
		"more than a key": {func(dir string) string {
			write(t, dir+"/key", make([]byte, mostBytes+1), 0o600)
			return "file:" + dir + "/key"
		}, "larger than 1 MiB", true},
	} {
		t.Run(name, func(t *testing.T) {
			ref := tc.make(t.TempDir())
			got, err := Read(ref)
			if tc.want == "" {
				if err != nil || !bytes.Equal(got, secret) {
					t.Fatalf("got %q, %v", got, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || tc.said && !strings.Contains(err.Error(), ref) {
				t.Fatalf("got %v, want %q, and the reference: %v", err, tc.want, tc.said)
			}
			silent(t, err, secret, private)
		})
	}
}

func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.Symlink(to, at); err != nil {
		t.Fatal(err)
	}
}

// files is a certificate and its key on disk.
type files struct {
	t   *testing.T
	dir string
}

func newFiles(t *testing.T, certificate, private []byte) files {
	t.Helper()
	f := files{t, t.TempDir()}
	f.put(certificate, private)
	return f
}

func (f files) put(certificate, private []byte) {
	f.t.Helper()
	write(f.t, filepath.Join(f.dir, "certificate.pem"), certificate, 0o644)
	write(f.t, filepath.Join(f.dir, "key.pem"), private, 0o600)
}

func (f files) certificate() string { return "file:" + filepath.Join(f.dir, "certificate.pem") }
func (f files) key() string         { return "file:" + filepath.Join(f.dir, "key.pem") }

func at(moment time.Time) func() time.Time { return func() time.Time { return moment } }

func TestOnlyAWholePairIsOpened(t *testing.T) {
	t.Parallel()
	certificate, private := good(t, 1)
	expired, _ := pair(t, 1, now.Add(-2*time.Hour), now.Add(-time.Second), keys()[0], keys()[0])
	early, _ := pair(t, 1, now.Add(time.Second), now.Add(time.Hour), keys()[0], keys()[0])
	other, otherKey := pair(t, 1, now.Add(-time.Hour), now.Add(time.Hour), keys()[1], keys()[1])
	for name, tc := range map[string]struct {
		certificate, private []byte
		want                 string
	}{
		"a whole one":                   {certificate, private, ""},
		"the key of another":            {certificate, otherKey, "certificate and key do not belong together"},
		"the certificate of another":    {other, private, "certificate and key do not belong together"},
		"one that has ended":            {expired, private, "the certificate is valid from 2026-03-01 to 2026-03-01 only"},
		"one that has not begun":        {early, private, "the certificate is valid from 2026-03-01 to 2026-03-01 only"},
		"a certificate that is none":    {[]byte("hunter2-and-some-more"), private, "certificate and key do not belong together or cannot be read"},
		"a key that is none":            {certificate, []byte("hunter2-and-some-more"), "certificate and key do not belong together or cannot be read"},
		"half a certificate":            {certificate[:len(certificate)/2], private, "certificate and key do not belong together or cannot be read"},
		"half a key":                    {certificate, private[:len(private)/2], "certificate and key do not belong together or cannot be read"},
		"the two in each other's place": {private, certificate, "certificate and key do not belong together or cannot be read"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFiles(t, tc.certificate, tc.private)
			p, err := OpenPair(f.certificate(), f.key(), at(now))
			if tc.want == "" {
				if err != nil || !p.NotAfter().Equal(now.Add(time.Hour)) {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), f.certificate()) {
				t.Fatalf("got %v, want %q and the reference", err, tc.want)
			}
			silent(t, err, private, otherKey, []byte("hunter2-and-some-more"))
		})
	}
}

func TestPairNamesTheReferenceThatIsWrong(t *testing.T) {
	t.Parallel()
	certificate, private := good(t, 1)
	f := newFiles(t, certificate, private)
	if _, err := OpenPair("file:"+f.dir+"/gone", f.key(), at(now)); err == nil || !strings.Contains(err.Error(), f.dir+"/gone") {
		t.Errorf("no certificate: got %v", err)
	}
	if _, err := OpenPair(f.certificate(), "file:"+f.dir+"/gone", at(now)); err == nil || !strings.Contains(err.Error(), f.dir+"/gone") {
		t.Errorf("no key: got %v", err)
	}
	write(t, f.dir+"/certificate.pem", certificate, 0o666)
	if _, err := OpenPair(f.certificate(), f.key(), at(now)); err == nil || !strings.Contains(err.Error(), "chmod 0644") {
		t.Errorf("a certificate that others may change: got %v", err)
	}
}

// A new pair is taken without a restart, and only a whole one; the old one stays.
func TestRotation(t *testing.T) {
	t.Parallel()
	certificate, private := good(t, 1)
	f, clock := newFiles(t, certificate, private), now
	p, err := OpenPair(f.certificate(), f.key(), func() time.Time { return clock })
	if err != nil {
		t.Fatal(err)
	}
	swapped, refused := 0, []string{}
	p.OnSwap(func() { swapped++ })
	p.OnFail(func(err error) { refused = append(refused, err.Error()) })
	serial := func() int64 { return p.Certificate().Leaf.SerialNumber.Int64() }

	next, nextKey := pair(t, 2, now.Add(-time.Hour), now.Add(2*time.Hour), keys()[1], keys()[1])
	f.put(next, private) // the key comes a moment later
	clock = clock.Add(lookEvery - 1)
	if got := serial(); got != 1 || len(refused) != 0 {
		t.Errorf("too early: got certificate %d, refused %v", got, refused)
	}
	clock = clock.Add(1)
	if got := serial(); got != 1 || swapped != 0 || len(refused) != 1 || !strings.Contains(refused[0], "do not belong together") {
		t.Errorf("half written: got certificate %d, %d swaps, refused %v", got, swapped, refused)
	}
	f.put(next, nextKey)
	clock = clock.Add(lookEvery)
	if got := serial(); got != 2 || swapped != 1 || len(refused) != 1 {
		t.Errorf("whole: got certificate %d, %d swaps, refused %v", got, swapped, refused)
	}
	clock = clock.Add(lookEvery)
	if got := serial(); got != 2 || swapped != 1 {
		t.Errorf("nothing new: got certificate %d, %d swaps", got, swapped)
	}
	if err := os.Remove(f.dir + "/key.pem"); err != nil {
		t.Fatal(err)
	}
	clock = clock.Add(lookEvery)
	if got := serial(); got != 2 || len(refused) != 2 || !strings.Contains(refused[1], f.key()) {
		t.Errorf("gone: got certificate %d, refused %v", got, refused)
	}
}

func TestAuthorities(t *testing.T) {
	t.Parallel()
	certificate, private := good(t, 1)
	f := newFiles(t, certificate, private)
	if pool, err := Pool(""); pool != nil || err != nil {
		t.Errorf("the system's: got %v, %v", pool, err)
	}
	for _, ref := range []string{f.certificate(), strings.TrimPrefix(f.certificate(), "file:")} {
		if pool, err := Pool(ref); err != nil || pool == nil {
			t.Errorf("%s: %v", ref, err)
		}
	}
	for ref, want := range map[string]string{f.key(): "no certificate in it", "file:" + f.dir + "/gone": "no such file"} {
		_, err := Pool(ref)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), ref) {
			t.Errorf("%s: got %v, want %q", ref, err, want)
		}
		silent(t, err, private)
	}
}
