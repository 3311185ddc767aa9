package e2e

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// An authority issues certificates for any number of names, which clients verify.
type authority struct {
	t    *testing.T
	dir  string
	file string // path of its certificate, PEM
	pool *x509.CertPool
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pins []string // SHA-256 of the public keys of all that it has issued, base64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: tempDir(t), pool: x509.NewCertPool()}
	a.file = filepath.Join(a.dir, "authority.pem")
	template := validNow("authority")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	var der []byte
	der, a.key = a.sign(template, template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	writeFile(t, a.file, pemText("CERTIFICATE", der))
	return a
}

// issue makes a certificate of a node, which is its common name, for host names and addresses.
func (a *authority) issue(node string, names ...string) certificate {
	a.t.Helper()
	template := validNow(node)
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, key := a.sign(template, a.cert, a.key)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	c := certificate{host: names[0], file: filepath.Join(a.dir, node+".pem"), key: filepath.Join(a.dir, node+".key")}
	writeFile(a.t, c.file, pemText("CERTIFICATE", der))
	writeFile(a.t, c.key, pemText("PRIVATE KEY", private))
	return c
}

// sign makes a key and a certificate for it. Without a parent's key, it signs itself.
func (a *authority) sign(template, parent *x509.Certificate, by *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	if by == nil {
		by = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, by)
	if err != nil {
		a.t.Fatal(err)
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		a.t.Fatal(err)
	}
	pin := sha256.Sum256(public)
	a.pins = append(a.pins, base64.StdEncoding.EncodeToString(pin[:]))
	return der, key
}

// validNow is what all certificates have: each has a serial number of its own.
func validNow(name string) *x509.Certificate {
	serial := new(big.Int).SetBytes([]byte(name))
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}, SerialNumber: serial,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
}

func pemText(kind string, der []byte) string {
	var text bytes.Buffer
	pem.Encode(&text, &pem.Block{Type: kind, Bytes: der}) // fails only when the writer does
	return text.String()
}
