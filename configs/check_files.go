package configs

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// maxSideFile bounds the files that a configuration names: a password, or the certificates of every authority there is.
const maxSideFile = 1 << 20

// path returns where a file is that the configuration names: relative names count from the configuration's own folder.
func (d *decoder) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(d.file), name)
}

// readSideFile reads a plain file. Others, such as devices, may have no end.
func readSideFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a plain file", path)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxSideFile+1))
	if err == nil && len(data) > maxSideFile {
		err = fmt.Errorf("%s is larger than 1 MiB", path)
	}
	return data, err
}

// readPassword reads the password that a file holds, without the line end that editors put after it.
func readPassword(path string) (string, error) {
	data, err := readSideFile(path)
	if err != nil {
		return "", err
	}
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("%s is empty: write the password into it", path)
	case bytes.ContainsAny(data, "\n\x00"):
		return "", fmt.Errorf("%s has more than one line: write the password into it, and nothing else", path)
	}
	return string(data), nil
}

// readCertificates reads the certificates that a PEM file holds.
func readCertificates(path string) (*x509.CertPool, error) {
	data, err := readSideFile(path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("%s: %w", path, errNoCertificate)
	}
	return roots, nil
}

var errNoCertificate = errors.New("no certificate in it: write one or more in PEM form (-----BEGIN CERTIFICATE-----)")
