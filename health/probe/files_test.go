package probe

import (
	"crypto/tls"
	"strconv"
	"syscall"
	"testing"
)

// TestRootsAreShared: probers that trust the same file hold its certificates once, and all see it change.
func TestRootsAreShared(t *testing.T) {
	certificate, caFile := authority(t, []string{"db.test"})
	a, _ := serve(t, nil, serveTLS(&tls.Config{Certificates: []tls.Certificate{certificate}}, nil))
	config := Config{Kind: TLS, TLS: TLSConfig{CAFile: caFile, ServerName: "db.test"}}
	first, second := newProber(t, config, a), newProber(t, config, a)
	for _, p := range []Prober{first, second} {
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
	}
	one, err := rootsFileOf(caFile).read()
	if err != nil {
		t.Fatal(err)
	}
	if two, err := rootsFileOf(caFile).read(); err != nil || one != two {
		t.Errorf("parsed again although nothing has changed (%v)", err)
	}
	other, _ := authority(t, []string{"db.test"})
	pem, _ := pemOf(t, other)
	rewrite(t, caFile, string(pem))
	for _, p := range []Prober{first, second} {
		_, err := ask(t, p)
		wantError(t, err, "TLS handshake", "unknown authority")
	}
}

// TestFilesThatAreNone: what has no end, or no beginning, is not waited for.
func TestFilesThatAreNone(t *testing.T) {
	pipe := t.TempDir() + "/pipe"
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, "/dev/zero", t.TempDir()} {
		_, err := ReadPassword(path)
		wantError(t, err, strconv.Quote(path)+" is not a plain file")
	}
	_, err := ReadCertificates(tempFile(t, make([]byte, fileMost+1)))
	wantError(t, err, "is larger than 1 MiB")
}
