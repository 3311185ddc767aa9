package probe

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// The server takes a second to make, so the tests that leave it as it was share one.
func TestPostgres(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"Answer", testAnswer},
		{"Environment", testEnvironment},
		{"SSLModes", testSSLModes},
		{"Logins", testLogins},
		{"Refusals", testRefusals},
		{"OneSession", testOneSession},
		{"Concurrent", testConcurrent},
		{"WaitInterrupted", testWaitInterrupted},
		{"Terminated", testTerminated},
		{"TerminatedUnwatched", testTerminatedUnwatched},
		{"Chatter", testChatter},
		{"Cut", testCut},
		{"Relayed", testRelayed},
		{"RotatedPassword", testRotatedPassword},
		{"RotatedCA", testRotatedCA},
		{"ClientCertificate", testClientCertificate},
		{"OldTLS", testOldTLS},
		{"Stopped", testStopped},
		{"Restart", testRestart}, // the last one, for what it does to the log
	} {
		t.Run(test.name, func(t *testing.T) {
			shared := *c
			shared.t = t
			test.run(t, &shared)
		})
	}
}

func testAnswer(t *testing.T, c *cluster) {
	want, err := strconv.ParseUint(c.exec("SELECT system_identifier FROM pg_control_system()"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	got, err := askOnce(t, as("sluice", "prefer"), c.address())
	if err != nil || got != (DatabaseAnswer{Primary: true, System: want, Timeline: 1, Has: got.Has, Whole: got.Whole}) {
		t.Errorf("%+v, %v", got, err)
	}
	if flushed := c.exec("SELECT pg_current_wal_flush_lsn() - '0/0'"); strconv.FormatUint(got.Has, 10) != flushed {
		t.Errorf("it has %d, want %s", got.Has, flushed)
	}
}

// testEnvironment: whoever starts sluice may have settings for psql, which are none of ours.
func testEnvironment(t *testing.T, c *cluster) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, ".postgresql"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".pgpass", ".pg_service.conf", ".postgresql/root.crt", ".postgresql/postgresql.crt",
		".postgresql/postgresql.key"} {
		if err := os.WriteFile(filepath.Join(home, name), []byte("*:*:*:*:wrong\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("HOME", home)
	for _, name := range []string{"HOST", "PORT", "DATABASE", "USER", "PASSWORD", "PASSFILE", "APPNAME", "CONNECT_TIMEOUT",
		"SSLMODE", "SSLKEY", "SSLCERT", "SSLCERTMODE", "SSLSNI", "SSLROOTCERT", "SSLPASSWORD", "SSLNEGOTIATION",
		"TARGETSESSIONATTRS", "SERVICE", "SERVICEFILE", "TZ", "OPTIONS", "MINPROTOCOLVERSION", "MAXPROTOCOLVERSION",
		"CHANNELBINDING", "REQUIREAUTH"} {
		t.Setenv("PG"+name, "wrong")
	}
	if _, err := askOnce(t, as("sluice", "prefer"), c.address()); err != nil {
		t.Error(err)
	}
	if got := os.Getenv("PGSERVICE"); got != "wrong" {
		t.Errorf("PGSERVICE is %q afterwards", got)
	}
}

func testSSLModes(t *testing.T, c *cluster) {
	_, others := authority(t, nil)
	f := func(c Config, a *cluster, encrypted string) {
		t.Helper()
		until(t, "the sessions of others have ended", func() bool { return a.sessions() == 0 })
		p := newProber(t, c, a.address())
		if _, err := ask(t, p); err != nil {
			t.Errorf("%s: %v", c.Postgres.SSLMode, err)
			return
		}
		got := a.exec("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sluice'")
		if got != encrypted {
			t.Errorf("%s: TLS is %q, want %q", c.Postgres.SSLMode, got, encrypted)
		}
		p.Close()
		until(t, "the session has ended", func() bool { return a.sessions() == 0 })
	}
	trusting := func(sslmode, name string) Config {
		config := as("sluice", sslmode)
		config.TLS = TLSConfig{CAFile: c.trusted, ServerName: name}
		return config
	}
	c.quiet(func() {
		f(as("sluice", "disable"), c, "f")
		f(as("sluice", "allow"), c, "f")
		f(as("sluice", "prefer"), c, "t")
		f(as("sluice", "require"), c, "t")
		f(trusting("prefer", ""), c, "t")
		f(trusting("require", ""), c, "t")
		f(trusting("verify-ca", "other.test"), c, "t")
		f(trusting("verify-full", ""), c, "t")
		f(trusting("verify-full", "db.test"), c, "t")
	})
	f(as("tlsonly", "allow"), c, "t")    // the server refuses the first way
	f(as("clearonly", "prefer"), c, "f") // here too

	untrusted := func(sslmode, name string, words ...string) {
		t.Helper()
		config := trusting(sslmode, name)
		if name == "" {
			config.TLS.CAFile = others
		}
		_, err := askOnce(t, config, c.address())
		wantError(t, err, words...)
	}
	untrusted("prefer", "", "TLS handshake", "unknown authority")
	untrusted("require", "", "TLS handshake", "unknown authority")
	untrusted("verify-ca", "", "TLS handshake", "unknown authority")
	untrusted("verify-full", "", "TLS handshake", "unknown authority")
	untrusted("verify-full", "other.test", "TLS handshake", "other.test")
	_, err := askOnce(t, as("sluice", "verify-ca"), c.address()) // against the system's certificates
	wantError(t, err, "TLS handshake", "unknown authority")
	until(t, "the server has logged the 6 of them", func() bool {
		return strings.Count(c.log(), "could not accept SSL") == 6
	})
}

func testLogins(t *testing.T, c *cluster) {
	f := func(name, sslmode string) {
		t.Helper()
		if _, err := askOnce(t, as(name, sslmode), c.address()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	c.quiet(func() {
		f("sluice", "disable")
		f("sluice", "require") // SCRAM with channel binding
		f("inclear", "require")
		f("hashed", "require")
		f("hashed", "disable")
		f("postgres", "disable") // no password asked for
		config := as("sluice", "verify-full")
		if _, err := askOnce(t, config, c.socket()); err != nil { // no TLS there, whatever the mode
			t.Errorf("Unix socket: %v", err)
		}
	})
	t.Run("WayRemembered", func(t *testing.T) {
		p := newProber(t, as("clearonly", "prefer"), c.address())
		before := strings.Count(c.log(), "no pg_hba.conf entry")
		for range 3 {
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
			c.exec("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'")
			until(t, "the session has ended", func() bool { return c.sessions() == 0 })
		}
		if n := strings.Count(c.log(), "no pg_hba.conf entry") - before; n != 1 {
			t.Errorf("%d logins were refused, want 1", n)
		}
	})
}

func testRefusals(t *testing.T, c *cluster) {
	f := func(change func(*Config), words ...string) {
		t.Helper()
		config := as("sluice", "prefer")
		change(&config)
		_, err := askOnce(t, config, c.address())
		wantError(t, err, words...)
		if strings.Contains(err.Error(), "s3cret") || Unavailable(err) {
			t.Errorf("%q (unavailable %t)", err, Unavailable(err))
		}
	}
	f(func(c *Config) { c.Postgres.PasswordFile = tempFile(t, []byte("s3cret")) },
		`log in as "sluice": FATAL: password authentication failed for user "sluice" (28P01)`)
	f(func(c *Config) { c.Postgres.PasswordFile = "" }, `log in as "sluice": FATAL: `, "28P01")
	f(func(c *Config) { c.Postgres.Database = "none" },
		`log in as "sluice": FATAL: database "none" does not exist (3D000)`)
	f(func(c *Config) { c.Postgres.User = "clearonly"; c.Postgres.SSLMode = "require" },
		`no pg_hba.conf entry`, "(28000)")
	f(func(c *Config) { c.Postgres.User = "nobody" }, `log in as "nobody": FATAL: `, "; without TLS: ")
}
