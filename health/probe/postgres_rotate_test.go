package probe

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// rewrite replaces a file as those who rotate secrets do, by another one under the same name.
func rewrite(t *testing.T, path, content string) {
	t.Helper()
	fresh := path + ".new"
	if err := os.WriteFile(fresh, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(fresh, path); err != nil {
		t.Fatal(err)
	}
}

// cutProbers ends the sessions of the probers, as a restart does.
func (c *cluster) cutProbers() {
	c.t.Helper()
	c.exec("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'sluice'")
}

// testRotatedPassword: the password is read at every login, so the one after a rotation succeeds.
func testRotatedPassword(t *testing.T, c *cluster) {
	c.exec("CREATE ROLE rotated LOGIN PASSWORD 'first'")
	defer c.exec("DROP ROLE rotated")
	file := tempFile(t, []byte("first\n"))
	config := as("sluice", "prefer")
	config.Postgres.User, config.Postgres.PasswordFile = "rotated", file
	p := newProber(t, config, c.address())
	good := func(when string) {
		t.Helper()
		if _, err := ask(t, p); err != nil {
			t.Errorf("%s: %v", when, err)
		}
	}
	bad := func(words ...string) {
		t.Helper()
		_, err := ask(t, p)
		wantError(t, err, words...)
	}
	good("at first")
	c.exec("ALTER ROLE rotated PASSWORD 'second'")
	rewrite(t, file, "second")
	good("over the old session")
	c.cutProbers()
	good("after a rotation, and the end of the session")

	c.exec("ALTER ROLE rotated PASSWORD 'third'")
	c.cutProbers()
	bad("password authentication failed", "28P01")
	rewrite(t, file, "")
	bad("password_file: ", strconv.Quote(file), "is empty")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	bad("password_file: ", strconv.Quote(file), "no such file or directory")
	rewrite(t, file, "third\r\n")
	good("when the file is there again")
	p.Close()
	until(t, "the session has ended", func() bool { return c.sessions() == 0 })
}

// testRotatedCA: the certificates to trust are read at every handshake.
func testRotatedCA(t *testing.T, c *cluster) {
	pems := func() (certificate, key string) {
		made, _ := authority(t, []string{"db.test"}, "127.0.0.1")
		certificatePEM, keyPEM := pemOf(t, made)
		return string(certificatePEM), string(keyPEM)
	}
	before, err := os.ReadFile(c.trusted)
	if err != nil {
		t.Fatal(err)
	}
	beforeKey, err := os.ReadFile(c.data() + "/server.key")
	if err != nil {
		t.Fatal(err)
	}
	file := tempFile(t, before)
	config := as("sluice", "verify-full")
	config.TLS.CAFile = file
	p := newProber(t, config, c.address())
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	install := func(certificate, key string) {
		t.Helper()
		c.write("server.crt", []byte(certificate))
		c.write("server.key", []byte(key))
		c.exec("SELECT pg_reload_conf()")
	}
	certificate, key := pems()
	install(certificate, key)
	defer install(string(before), string(beforeKey))
	until(t, "the old certificate is not trusted any more", func() bool {
		c.cutProbers()
		_, err := ask(t, p)
		return err != nil
	})
	_, err = ask(t, p)
	wantError(t, err, "TLS handshake", "unknown authority")
	rewrite(t, file, certificate)
	if _, err := ask(t, p); err != nil {
		t.Errorf("after the rotation: %v", err)
	}
	c.cutProbers()
	rewrite(t, file, "nothing of use")
	_, err = ask(t, p)
	wantError(t, err, "ca_file: no certificate in "+strconv.Quote(file))
}

// testClientCertificate: a role that comes in by certificate, which is read at every login too.
func testClientCertificate(t *testing.T, c *cluster) {
	made, caFile := authority(t, []string{"client.test"})
	certificate, key := pemOf(t, made)
	client, err := os.ReadFile(caFile)
	if err != nil {
		t.Fatal(err)
	}
	c.write("clients.crt", client)
	c.write("pg_hba.conf", []byte("hostssl all test 127.0.0.1/32 cert\n"+hba)) // "test" is the name in the certificate
	c.exec("CREATE ROLE test LOGIN")
	c.exec("ALTER SYSTEM SET ssl_ca_file = 'clients.crt'")
	c.exec("SELECT pg_reload_conf()")
	defer func() {
		c.write("pg_hba.conf", []byte(hba))
		c.exec("ALTER SYSTEM RESET ssl_ca_file")
		c.exec("SELECT pg_reload_conf()")
		c.exec("DROP ROLE test")
	}()
	config := as("test", "require")
	config.Postgres.PasswordFile = ""
	config.TLS.CertFile, config.TLS.KeyFile = tempFile(t, certificate), tempFile(t, key)
	p := newProber(t, config, c.address())
	until(t, "the certificate is taken", func() bool {
		_, err := ask(t, p)
		return err == nil
	})
	c.cutProbers()
	other, _ := authority(t, nil)
	otherCertificate, otherKey := pemOf(t, other)
	rewrite(t, config.TLS.CertFile, string(otherCertificate))
	_, err = ask(t, p)
	wantError(t, err, "client certificate: ", strconv.Quote(config.TLS.CertFile), "private key does not match")
	rewrite(t, config.TLS.KeyFile, string(otherKey))
	until(t, "the server says why it refuses the certificate", func() bool {
		_, err = ask(t, p)
		return !strings.Contains(fmt.Sprint(err), "reset by peer") // a reset may find the start-up packet on its way
	})
	wantError(t, err, `log in as "test": `, "unknown certificate authority")
	p.Close()
	until(t, "the session has ended", func() bool { return c.sessions() == 0 })
}

// testOldTLS: a server that speaks TLS 1.0 only has its clients, and the check is one of them.
func testOldTLS(t *testing.T, c *cluster) {
	settings := []string{"ssl_min_protocol_version = 'TLSv1'", "ssl_max_protocol_version = 'TLSv1'",
		"ssl_ciphers = 'ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0'"}
	for _, setting := range settings {
		c.exec("ALTER SYSTEM SET " + setting)
	}
	c.exec("SELECT pg_reload_conf()")
	defer func() {
		c.exec("ALTER SYSTEM RESET ALL")
		c.exec("SELECT pg_reload_conf()")
	}()
	for _, verified := range []bool{false, true} {
		config := as("sluice", "require")
		if verified {
			config = as("sluice", "verify-full")
			config.TLS.CAFile = c.trusted
		}
		p := newProber(t, config, c.address())
		until(t, "the server speaks TLS 1.0", func() bool {
			c.cutProbers()
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
			return c.exec("SELECT version FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sluice'") == "TLSv1"
		})
		p.Close()
		until(t, "the session has ended", func() bool { return c.sessions() == 0 })
	}
}
