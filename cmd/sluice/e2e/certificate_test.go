package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

// A certificate is for one host name. It is its own authority.
type certificate struct {
	host      string
	file, key string // paths of PEM files
}

// newCertificate makes a certificate with openssl.
func newCertificate(t *testing.T, host string) certificate {
	t.Helper()
	dir := tempDir(t)
	c := certificate{host: host, file: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem")}
	output(t, command(t, program(t, "openssl"), "req", "-x509", "-nodes", "-days", "2",
		"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN="+host,
		"-addext", "subjectAltName=DNS:"+host, "-out", c.file, "-keyout", c.key))
	return c
}

// nginx returns the directives that make a node use c.
func (c certificate) nginx() string {
	return fmt.Sprintf("ssl_certificate %s;\n\t\tssl_certificate_key %s;\n\t\tssl_protocols TLSv1.2 TLSv1.3;",
		c.file, c.key)
}

// bundle is certificate and key in one file, as HAProxy wants them.
func (c certificate) bundle(t *testing.T) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(c.file), "bundle.pem")
	writeFile(t, path, readFile(t, c.file)+readFile(t, c.key))
	return path
}
