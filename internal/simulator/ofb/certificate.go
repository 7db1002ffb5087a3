package ofb

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"strings"
	"time"

	"github.com/google/uuid"
)

const (
	caLife      = 10 * 365 * 24 * time.Hour
	leafLife    = 365 * 24 * time.Hour
	renewBefore = 7 * 24 * time.Hour
	backdate    = time.Hour // clients' clocks may be a little behind
)

// organizationIdentifier carries the organisation in a transport certificate of the
// Open Finance Brasil standard, beside the OU.
var organizationIdentifier = asn1.ObjectIdentifier{2, 5, 4, 97}

const identifierPrefix = "OFBBR-"

var errNoOrganisation = errors.New("certificate names no organisation, or two")

// organisationOf reads the organisation id from OU and organizationIdentifier. Both
// are optional, but they must not disagree.
func organisationOf(cert *x509.Certificate) (uuid.UUID, error) {
	found := uuid.Nil
	for _, name := range cert.Subject.Names {
		if !name.Type.Equal(organizationIdentifier) && !name.Type.Equal(asn1.ObjectIdentifier{2, 5, 4, 11}) {
			continue
		}
		s, _ := name.Value.(string)
		id, err := parseUUID(strings.TrimPrefix(s, identifierPrefix))
		if err != nil || found != uuid.Nil && found != id {
			return uuid.Nil, errNoOrganisation
		}
		found = id
	}
	if found == uuid.Nil {
		return uuid.Nil, errNoOrganisation
	}
	return found, nil
}

// authority is the simulated accredited CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func openAuthority(certPath, keyPath string, now time.Time) (*authority, error) {
	if pair, err := tls.LoadX509KeyPair(certPath, keyPath); err == nil {
		if key, ok := pair.PrivateKey.(*ecdsa.PrivateKey); ok && now.Add(leafLife).Before(pair.Leaf.NotAfter) {
			return newAuthority(pair.Leaf, key), nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:   pkix.Name{Country: []string{"BR"}, Organization: []string{"event-runtime simulator"}, CommonName: "Simulated Open Finance Brasil CA"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(caLife),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root := &authority{cert: template, key: key}
	certPEM, err := root.sign(template, &key.PublicKey)
	if err != nil {
		return nil, err
	}
	keyPEM, err := encodeKey(key)
	if err != nil {
		return nil, err
	}
	if err := writePair(certPath, keyPath, certPEM, keyPEM); err != nil {
		return nil, err
	}
	block, _ := pem.Decode(certPEM)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, err
	}
	return newAuthority(cert, key), nil
}

func newAuthority(cert *x509.Certificate, key *ecdsa.PrivateKey) *authority {
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool}
}

func clientTemplate(f ClientFiles, now time.Time) *x509.Certificate {
	return &x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"BR"}, Organization: []string{f.Name}, OrganizationalUnit: []string{f.Organisation},
			CommonName: f.ClientID,
			ExtraNames: []pkix.AttributeTypeAndValue{{Type: organizationIdentifier, Value: identifierPrefix + f.Organisation}},
		},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
}

// serverCertificate is made anew at each start: clients verify the CA, not the leaf.
func (a *authority) serverCertificate(now time.Time, hosts ...string) (tls.Certificate, error) {
	template := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "localhost"},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(leafLife),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, h := range append(hosts, "127.0.0.1", "::1", "localhost") {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else if h != "" {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	cert, key, err := a.issue(template)
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(cert, key)
}

// issue makes a key and signs template for it; both come back as PEM.
func (a *authority) issue(template *x509.Certificate) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	if cert, err = a.sign(template, &k.PublicKey); err != nil {
		return nil, nil, err
	}
	key, err = encodeKey(k)
	return cert, key, err
}

func (a *authority) sign(template *x509.Certificate, public *ecdsa.PublicKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	template.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), nil
}

func encodeKey(key any) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}
