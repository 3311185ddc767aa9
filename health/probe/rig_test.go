package probe

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool"
)

// patient is how long a test waits for what must happen. It is long because machines that test are busy; nothing waits
// for it to pass.
const patient = time.Minute

// newProber returns a prober that is closed when the test is over.
func newProber(t *testing.T, c Config, a pool.Address) Prober {
	t.Helper()
	p, err := New(c, a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// ask runs one probe that has time.
func ask(t *testing.T, p Prober) (Answer, error) {
	t.Helper()
	return askWithin(t, p, patient)
}

func askWithin(t *testing.T, p Prober, timeout time.Duration) (Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	return p.Probe(ctx)
}

// askUntilError runs probes, each of which has more time than the one before, until one fails with these words: that
// it had no answer in time should be said of the step that is not answered, not of one that is answered too slowly. A
// probe must not take longer than it may.
func askUntilError(t *testing.T, p Prober, words ...string) error {
	t.Helper()
	for timeout := 100 * time.Millisecond; ; timeout *= 3 {
		started := time.Now()
		_, err := askWithin(t, p, timeout)
		if took := time.Since(started); took >= patient {
			t.Fatalf("took %v with a timeout of %v", took, timeout)
		}
		early := err != nil && strings.Contains(err.Error(), "in time") && timeout < patient/6
		if !early || !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(err.Error(), w) }) {
			wantError(t, err, words...)
			return err
		}
	}
}

// wantError checks that err is there, is one line and has the words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", words)
	}
	if strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("%q is more than one line", err)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func until(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patient); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patient, what)
		}
	}
}

// A served is what a server of the test saw of one connection.
type served struct {
	first []byte // what came with the first read
	err   error  // how the handler, and the reading after it, ended; nil = with a FIN
}

// serve runs a server on 127.0.0.1, or on listener when it is given, whose connections are handled by handle. Each is
// reported when its client has closed.
func serve(t *testing.T, l net.Listener, handle func(net.Conn) error) (pool.Address, <-chan served) {
	t.Helper()
	if l == nil {
		var err error
		if l, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { _ = l.Close() })
	reports := make(chan served, 100)
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(patient))
				r := &recorded{Conn: conn}
				err := handle(r)
				if err == nil {
					_, err = io.Copy(io.Discard, r)
				}
				reports <- served{r.first, err}
			}()
		}
	}()
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		return pool.Address{TCP: a.AddrPort()}, reports
	}
	return pool.Address{Unix: l.Addr().String()}, reports
}

// recorded is a connection that remembers what its first read returned.
type recorded struct {
	net.Conn
	first []byte
}

func (r *recorded) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	if r.first == nil {
		r.first = bytes.Clone(p[:n])
	}
	return n, err
}

// report returns what a server saw of the next connection.
func report(t *testing.T, reports <-chan served) served {
	t.Helper()
	select {
	case r := <-reports:
		return r
	case <-time.After(patient):
		t.Fatal("the server saw no end of the connection")
		return served{}
	}
}

// dialogue returns a handler that speaks lines: what begins with "< " must come, anything else is sent.
func dialogue(lines ...string) func(net.Conn) error {
	return func(conn net.Conn) error {
		r := bufio.NewReader(conn)
		for _, line := range lines {
			want, reading := strings.CutPrefix(line, "< ")
			if !reading {
				if _, err := conn.Write([]byte(line)); err != nil {
					return err
				}
				continue
			}
			got := make([]byte, len(want))
			if _, err := io.ReadFull(r, got); err != nil {
				return err
			}
			if string(got) != want {
				return errors.New("got " + string(got))
			}
		}
		return nil
	}
}

// authority makes a certificate for names and IPs, and returns it with the file for who is to trust it.
func authority(t *testing.T, names []string, ips ...string) (made tls.Certificate, caFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	for _, ip := range ips {
		template.IPAddresses = append(template.IPAddresses, net.ParseIP(ip))
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	made = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
	certificate, _ := pemOf(t, made)
	return made, tempFile(t, certificate)
}

func tempFile(t *testing.T, content []byte) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pemOf returns a certificate and its key as files have them.
func pemOf(t *testing.T, c tls.Certificate) (certificate, key []byte) {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func newLogger(w io.Writer) *log.Logger { return log.New(w, "", 0) }
