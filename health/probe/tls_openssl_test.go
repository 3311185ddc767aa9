package probe

import (
	"fmt"
	"net/netip"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sluice/pool"
)

// selfSigned makes a certificate and its key with openssl, which makes what crypto/x509 refuses to.
func selfSigned(t *testing.T, args ...string) (cert, key string) {
	t.Helper()
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "crt"), filepath.Join(dir, "key")
	all := append([]string{"req", "-x509", "-nodes", "-subj", "/CN=old.test", "-days", "9", "-out", cert, "-keyout", key,
		"-addext", "subjectAltName=DNS:old.test"}, args...)
	if out, err := exec.Command("openssl", all...).CombinedOutput(); err != nil {
		t.Fatalf("openssl %q: %v\n%s", all, err, out)
	}
	return cert, key
}

// runOpenSSL runs a server that answers HTTP over TLS.
func runOpenSSL(t *testing.T, cert, key string, args ...string) pool.Address {
	t.Helper()
	port := freePorts(t, 1)[0]
	runServer(t, []uint16{port}, "/usr/bin/openssl", append([]string{"s_server", "-www", "-accept",
		fmt.Sprintf("127.0.0.1:%d", port), "-cert", cert, "-key", key}, args...)...)
	return pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
}

// TestTLSOfAnyAge: servers that have their clients are up, whatever crypto/tls thinks of them. Each is asked twice, since
// the second probe knows of the first.
func TestTLSOfAnyAge(t *testing.T) {
	rsa, rsaKey := selfSigned(t, "-newkey", "rsa:2048")
	up := func(name string, wantHelloOnly bool, cert, key string, args ...string) {
		t.Helper()
		a := runOpenSSL(t, cert, key, args...)
		d, err := newDialer(Config{}, a)
		if err != nil {
			t.Fatal(err)
		}
		p, err := newTLSProber(Config{}, d)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if _, err := ask(t, p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		// Of a server that says only in TLS 1.3 what it lacks, it depends on when it does.
		if got := p.(*tlsProber).helloOnly.Load(); got != wantHelloOnly && !slices.Contains(args, "-Verify") {
			t.Errorf("%s: only a hello is asked for: %t, want %t", name, got, wantHelloOnly)
		}
	}
	const weak = "ALL:@SECLEVEL=0"
	up("plain", false, rsa, rsaKey)
	up("RSA key exchange", false, rsa, rsaKey, "-tls1_2", "-cipher", "AES128-SHA")
	up("TLS 1.0", false, rsa, rsaKey, "-tls1", "-cipher", weak)
	up("TLS 1.1", false, rsa, rsaKey, "-tls1_1", "-cipher", weak)
	up("DHE", true, rsa, rsaKey, "-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256")
	up("TLS 1.0 and DHE", true, rsa, rsaKey, "-tls1", "-cipher", "DHE-RSA-AES128-SHA:@SECLEVEL=0")
	up("Camellia", true, rsa, rsaKey, "-tls1_2", "-cipher", "CAMELLIA128-SHA")
	up("X448", true, rsa, rsaKey, "-tls1_3", "-groups", "X448")
	up("P-521", false, rsa, rsaKey, "-tls1_3", "-groups", "P-521")
	up("a client's certificate in TLS 1.2", true, rsa, rsaKey, "-tls1_2", "-Verify", "1", "-verify_return_error")
	up("a client's certificate in TLS 1.3", true, rsa, rsaKey, "-tls1_3", "-Verify", "1", "-verify_return_error")
	negative, negativeKey := selfSigned(t, "-newkey", "rsa:2048", "-set_serial", "-5")
	up("a negative serial number", false, negative, negativeKey)
	small, smallKey := selfSigned(t, "-newkey", "rsa:512")
	up("RSA of 512 bits", true, small, smallKey, "-tls1_2", "-cipher", weak)
	ed448, ed448Key := selfSigned(t, "-newkey", "ed448")
	up("Ed448", true, ed448, ed448Key)
}

// TestTLSRefuses: an alert is no hello. It has a name.
func TestTLSRefuses(t *testing.T) {
	cert, key := selfSigned(t, "-newkey", "rsa:2048")
	down := func(c TLSConfig, args []string, words ...string) {
		t.Helper()
		_, err := ask(t, newProber(t, Config{Kind: TLS, TLS: c}, runOpenSSL(t, cert, key, args...)))
		wantError(t, err, words...)
	}
	down(TLSConfig{}, []string{"-tls1_2", "-nocert", "-psk", "00", "-cipher", "PSK-AES128-CBC-SHA"},
		"TLS handshake: remote error: tls: handshake failure")
	down(TLSConfig{ServerName: "new.test"}, []string{"-servername", "old.test", "-servername_fatal", "-cert2", cert, "-key2", key},
		"TLS handshake: remote error: tls: unrecognized name")
}

// TestTLSClientCertificate: it is shown, and judged by the server, in every version.
func TestTLSClientCertificate(t *testing.T) {
	ec := []string{"-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"}
	cert, key := selfSigned(t, ec...)
	own, ownKey := selfSigned(t, ec...)
	other, otherKey := selfSigned(t, ec...)
	for _, version := range []string{"-tls1_2", "-tls1_3"} {
		a := runOpenSSL(t, cert, key, version, "-Verify", "1", "-verify_return_error", "-CAfile", own)
		for _, verified := range []string{"", cert} {
			f := func(own, ownKey string, words ...string) {
				t.Helper()
				c := Config{TLS: TLSConfig{CertFile: own, KeyFile: ownKey, CAFile: verified, ServerName: "old.test"}}
				for _, c.Kind = range []Kind{TLS, HTTP} {
					c.InTLS = true
					_, err := ask(t, newProber(t, c, a))
					if len(words) > 0 {
						wantError(t, err, words...)
					} else if err != nil {
						t.Errorf("%v, %s: %v", c.Kind, version, err)
					}
				}
			}
			f(own, ownKey)
			wantedOf(t, a, verified)
			f(other, otherKey, "remote error: tls: ")
			f(own, otherKey, "client certificate", "private key does not match")
			f(own+"x", ownKey, "client certificate", own+"x", "no such file")
		}
	}
}

// wantedOf asks a server that wants a certificate without having one: it is up, unless its own is no good.
func wantedOf(t *testing.T, a pool.Address, verified string) {
	t.Helper()
	c := Config{Kind: TLS, TLS: TLSConfig{CAFile: verified, ServerName: "old.test"}}
	if _, err := ask(t, newProber(t, c, a)); err != nil {
		t.Errorf("%+v: %v", c.TLS, err)
	}
	if verified != "" {
		c.TLS.ServerName = "other.test"
		_, err := ask(t, newProber(t, c, a))
		wantError(t, err, "TLS handshake", "other.test")
	}
}

// TestHTTPOverOldTLS: what crypto/tls can do at all is good enough for a request.
func TestHTTPOverOldTLS(t *testing.T) {
	cert, key := selfSigned(t, "-newkey", "rsa:2048")
	negative, negativeKey := selfSigned(t, "-newkey", "rsa:2048", "-set_serial", "-5")
	f := func(cert, key string, args ...string) {
		t.Helper()
		a := runOpenSSL(t, cert, key, args...)
		for _, c := range []TLSConfig{{}, {CAFile: cert, ServerName: "old.test"}} {
			c := Config{Kind: HTTP, InTLS: true, HTTP: HTTPConfig{Body: "s_server"}, TLS: c}
			if _, err := ask(t, newProber(t, c, a)); err != nil {
				t.Errorf("%v: %v", args, err)
			}
		}
	}
	f(cert, key, "-tls1", "-cipher", "ALL:@SECLEVEL=0")
	f(cert, key, "-tls1_2", "-cipher", "AES128-SHA")
	f(cert, key, "-tls1_2", "-cipher", "AES128-GCM-SHA256")
	f(negative, negativeKey)
}
