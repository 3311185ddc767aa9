package configs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
)

// path returns where a file is that the configuration names: relative names count from the configuration's own folder.
func (d *decoder) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.file), name)
}

// readSideFile reads a plain file. Others may have no end, such as devices, or no beginning, such as pipes that nobody
// writes to, which cannot even be opened. It must not have more than most bytes, whole MiB. The error names the file.
func readSideFile(path string, most int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a plain file", path)
	}
	var data []byte
	if err == nil {
		data, err = readFile(path, most)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("read %q: %w", path, withoutPath(err))
	case int64(len(data)) > most:
		return nil, fmt.Errorf("%q is larger than %d MiB", path, most>>20)
	}
	return data, nil
}

// readPassword reads the password that a file holds, without the line end that editors put after it.
func readPassword(path string) (string, error) {
	data, err := readSideFile(path, maxFileSize)
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

// readCertificates reads the certificates that a PEM file holds.
func readCertificates(path string) (*x509.CertPool, error) {
	data, err := readSideFile(path, maxFileSize)
	if err != nil {
		return nil, err
	}
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
