package probe

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
)

// fileMost bounds a file that a check names. The certificates of every public authority there is are a fifth of it.
const fileMost = 1 << 20

// readPlain reads a plain file. Others may have no end, such as devices, or no beginning, such as pipes that nobody
// writes to, which cannot even be opened. The error names the file.
func readPlain(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a plain file", path)
	}
	var data []byte
	if err == nil {
		data, err = readMost(path)
	}
	switch {
	case err != nil:
		if p := (*fs.PathError)(nil); errors.As(err, &p) {
			err = p.Err // the path is named already
		}
		return nil, fmt.Errorf("read %q: %w", path, err)
	case len(data) > fileMost:
		return nil, fmt.Errorf("%q is larger than %d MiB", path, fileMost>>20)
	}
	return data, nil
}

// readMost reads one byte more than a file may have, so that the caller sees when there are too many.
func readMost(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, fileMost+1))
}

// ReadPassword reads the password that a file holds, without the line end that editors put after it. No error shows
// what is in the file.
func ReadPassword(path string) (string, error) {
	data, err := readPlain(path)
	if err != nil {
		return "", err
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("%q is empty: write the password into it", path)
	case bytes.ContainsAny(data, "\n\x00"):
		return "", fmt.Errorf("%q has more than one line: write the password into it, and nothing else", path)
	}
	return string(data), nil
}

// ReadCertificates reads the certificates to trust that a PEM file holds.
func ReadCertificates(path string) (*x509.CertPool, error) {
	data, err := readPlain(path)
	if err != nil {
		return nil, err
	}
	return parseCertificates(path, data)
}

func parseCertificates(path string, data []byte) (*x509.CertPool, error) {
	roots, n := x509.NewCertPool(), 0
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		n++
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d in %q is damaged", n, path)
		}
		roots.AddCert(certificate)
	}
	if n == 0 {
		return nil, fmt.Errorf("no certificate in %q: write one or more in PEM form (-----BEGIN CERTIFICATE-----)", path)
	}
	return roots, nil
}

// ReadKeyPair reads the certificate that a client shows, with those that lead to its authority, and its key.
func ReadKeyPair(certFile, keyFile string) (*tls.Certificate, error) {
	certificates, err := readPlain(certFile)
	if err != nil {
		return nil, err
	}
	key, err := readPlain(keyFile)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificates, key)
	if err != nil {
		return nil, fmt.Errorf("certificate in %q and key in %q: %w", certFile, keyFile, err)
	}
	return &pair, nil
}

// rootsFiles has a rootsFile for each path that was ever named: thousands of servers are asked with the same one, and the
// certificates of every public authority are a megabyte when they are parsed.
var rootsFiles sync.Map

func rootsFileOf(path string) *rootsFile {
	f, _ := rootsFiles.LoadOrStore(path, &rootsFile{path: path})
	return f.(*rootsFile)
}

// rootsFile is a file of certificates that is read whenever they are needed, and parsed when it has changed.
type rootsFile struct {
	path string

	mu    sync.Mutex
	data  []byte
	roots *x509.CertPool // what data says; nil = nothing yet
}

func (f *rootsFile) read() (*x509.CertPool, error) {
	data, err := readPlain(f.path)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.roots != nil && bytes.Equal(data, f.data) {
		return f.roots, nil
	}
	roots, err := parseCertificates(f.path, data)
	if err == nil {
		f.data, f.roots = data, roots
	}
	return roots, err
}
