package configs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/health"
	"sluice/health/probe"
	"sluice/pool"
)

// checkedPool loads a pool with these settings; files are relative to dir.
func checkedPool(t *testing.T, dir, settings string) Pool {
	t.Helper()
	file, err := parse(filepath.Join(dir, "good.yaml"), []byte(minimalText+settings), testLookup)
	if err != nil {
		t.Fatalf("%s:\n%v", settings, err)
	}
	return file.Pools[0]
}

func TestCheckProbes(t *testing.T) {
	f := func(settings string, want probe.Config) {
		t.Helper()
		got := checkedPool(t, ".", settings).Health.Probe
		if !equal(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got, want)
		}
	}
	get := probe.HTTPConfig{Method: "GET", Path: "/"}
	f("    check: {type: tls}", probe.Config{Kind: probe.TLS})
	f("    check: {type: tls, server_name: a.example}", probe.Config{
		Kind: probe.TLS, TLS: probe.TLSConfig{ServerName: "a.example"},
	})
	f("    check: {type: http}", probe.Config{Kind: probe.HTTP, HTTP: get})
	f(`    check: {type: http, method: POST, path: "/a?b=%20", host: h, status: [200, 301-302], body: ok, tls: true}`, probe.Config{
		Kind: probe.HTTP, InTLS: true, HTTP: probe.HTTPConfig{
			Method: "POST", Path: "/a?b=%20", Host: "h", Body: "ok",
			Status: []probe.StatusRange{{First: 200, Last: 200}, {First: 301, Last: 302}},
		},
	})
	f(`    check: {type: http, method: OPTIONS, path: "*", headers: {x-probe: "a b", Accept: ""}}`, probe.Config{Kind: probe.HTTP,
		HTTP: probe.HTTPConfig{Method: "OPTIONS", Path: "*", Headers: map[string]string{"X-Probe": "a b", "Accept": ""}},
	})
	f(`    check: {type: expect, tls: true, server_name: a.example, steps: {expect: "+OK"}}`, probe.Config{
		Kind: probe.Expect, InTLS: true, TLS: probe.TLSConfig{ServerName: "a.example"},
		Steps: []probe.Step{{Want: []byte("+OK")}},
	})
	f("    check: {type: http, status: 204}", probe.Config{Kind: probe.HTTP, HTTP: probe.HTTPConfig{
		Method: "GET", Path: "/", Status: []probe.StatusRange{{First: 204, Last: 204}},
	}})
	f(`    check: {type: expect, steps: [{send: "PING\r\n", expect: "+PONG"}, {expect_regex: "^220 "}, {send_hex: "0a 0B", expect_hex: 00ff}]}`,
		probe.Config{Kind: probe.Expect, Steps: []probe.Step{
			{Send: []byte("PING\r\n"), Want: []byte("+PONG")},
			{Pattern: regexp.MustCompile("^220 ")},
			{Send: []byte{0x0a, 0x0b}, Want: []byte{0, 0xff}},
		}})
	f(`    check: {type: expect, steps: {send: "a\\r\\n", expect_regex: '\r\n$'}}`, probe.Config{
		Kind: probe.Expect, Steps: []probe.Step{{Send: []byte("a\\r\\n"), Pattern: regexp.MustCompile(`\r\n$`)}},
	})
	f(`    check: {type: http, body: "a\nb", host: "[::1]:80", server_name: "", ca_file: ""}`, probe.Config{
		Kind: probe.HTTP, HTTP: probe.HTTPConfig{Method: "GET", Path: "/", Host: "[::1]:80", Body: "a\nb"},
	})
	f("    check: {type: postgres, user: u}", probe.Config{
		Kind: probe.Postgres, Postgres: probe.PostgresConfig{User: "u", Database: "postgres", SSLMode: "prefer"},
	})
	f("    check: {type: postgres, user: u, database: d, sslmode: require}", probe.Config{
		Kind: probe.Postgres, Postgres: probe.PostgresConfig{User: "u", Database: "d", SSLMode: "require"},
	})
}

// The header is sent as for sessions, to the backend itself; to somebody else only when the check says so.
func TestCheckTarget(t *testing.T) {
	f := func(settings string, address pool.Address, port uint16, version uint8) {
		t.Helper()
		got := checkedPool(t, ".", settings).Health.Probe
		want := probe.Config{Address: address, Port: port, ProxyVersion: version}
		if !equal(got, want) {
			t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got, want)
		}
	}
	none := pool.Address{}
	f("    send_proxy: v2\n    check: {}", none, 0, 2)
	f("    check: {}\n    send_proxy: v2", none, 0, 2) // in whatever order
	f("    send_proxy: v1\n    check: {send_proxy: true}", none, 0, 1)
	f("    send_proxy: v2\n    check: {send_proxy: false}", none, 0, 0)
	f("    send_proxy: v2\n    check: {port: 8008}", none, 8008, 0)
	f("    send_proxy: v2\n    check: {port: 8008, send_proxy: true}", none, 8008, 2)
	f("    send_proxy: v2\n    check: {address: 10.0.0.9}", tcp("10.0.0.9:0"), 0, 0)
	f("    check: {address: '10.0.0.9:81'}", tcp("10.0.0.9:81"), 0, 0)
	f("    check: {address: '::1'}", tcp("[::1]:0"), 0, 0)
	f("    check: {address: '[2001:db8::1]'}", tcp("[2001:db8::1]:0"), 0, 0)
	f("    check: {address: unix:/run/x}", pool.Address{Unix: "/run/x"}, 0, 0)
	f("    check: {address: seven.example, port: 1}", tcp("10.0.0.7:0"), 1, 0)
	f("    check: {address: 'seven.example:82'}", tcp("10.0.0.7:82"), 0, 0)
}

func TestCheckIntervals(t *testing.T) {
	f := func(settings string, interval, fast, down time.Duration) {
		t.Helper()
		got := checkedPool(t, ".", settings).Health
		if got.Interval != interval || got.FastInterval != fast || got.DownInterval != down {
			t.Errorf("%s: %v, %v, %v", settings, got.Interval, got.FastInterval, got.DownInterval)
		}
	}
	const ms, s = time.Millisecond, time.Second
	f("    check: {interval: 100ms}", 100*ms, 100*ms, 5*s)
	f("    check: {interval: 10s}", 10*s, 500*ms, 10*s)
	f("    check: {fast_interval: 2s, interval: 2s, down_interval: 2s}", 2*s, 2*s, 2*s)
	if jitter := checkedPool(t, ".", "    check: {jitter: 0}").Health.Jitter; jitter != 0 {
		t.Errorf("jitter is %v, want 0", jitter)
	}
}

// Files are found beside the configuration, wherever the program runs.
func TestCheckFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("password", "a secret \n")
	cert, key := keyPair(t)
	write("ca.pem", cert)
	write("check.key", key)
	got := checkedPool(t, dir, "    check: {type: postgres, user: u, password_file: password, ca_file: ca.pem, sslmode: verify-full}")
	if p := got.Health.Probe; p.Postgres.PasswordFile != filepath.Join(dir, "password") || p.TLS.CAFile != filepath.Join(dir, "ca.pem") {
		t.Errorf("got %+v", p)
	}
	got = checkedPool(t, dir, "    check: {type: tls, cert: ca.pem, key: check.key}")
	if p := got.Health.Probe.TLS; p.CertFile != filepath.Join(dir, "ca.pem") || p.KeyFile != filepath.Join(dir, "check.key") {
		t.Errorf("got %+v", p)
	}
	f := func(text, want string) {
		t.Helper()
		write("bad", text)
		_, err := parse(filepath.Join(dir, "bad.yaml"), []byte(minimalText+"    check: {type: postgres, user: u, password_file: bad, ca_file: bad, sslmode: verify-ca}"), testLookup)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("a file with %q: %v, want %q", text, err, want)
		}
		if strings.Contains(err.Error(), "hush") {
			t.Errorf("the message shows what is in the file: %v", err)
		}
	}
	f("", `bad" is empty: write the password into it`)
	f("\n", `bad" is empty: write the password into it`)
	f("-----BEGIN CERTIFICATE-----\naHVzaA==\n-----END CERTIFICATE-----\n", "ca_file: certificate 1 in ")
	f("hush\nhush\n", `bad" has more than one line: write the password into it, and nothing else`)
	f("hush", "no certificate in ")
	f(strings.Repeat("hush", maxFileSize/4)+"!", `bad" is larger than 1 MiB`)
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readSideFile(pipe, maxFileSize); err == nil || !strings.Contains(err.Error(), "is not a plain file") {
		t.Errorf("a pipe that nobody writes to: %v", err)
	}
	if _, err := readSideFile("/dev/zero", maxFileSize); err == nil || !strings.Contains(err.Error(), "is not a plain file") {
		t.Errorf("a device: %v", err)
	}
}

// A check of MySQL is told whether anybody wants to know of replication, and has none of Postgres's settings.
func TestMySQLCheck(t *testing.T) {
	f := func(settings string, want probe.MySQLConfig) {
		t.Helper()
		got := checkedPool(t, t.TempDir(), "    check: {type: mysql, user: u"+settings+"}").Health.Probe
		if got.Kind != probe.MySQL || got.MySQL != want || got.Postgres != (probe.PostgresConfig{}) {
			t.Errorf("%s: got %+v", settings, got)
		}
	}
	f("", probe.MySQLConfig{User: "u", SSLMode: "prefer"})
	f(", sslmode: require, role: any", probe.MySQLConfig{User: "u", SSLMode: "require"})
	f(", role: primary", probe.MySQLConfig{User: "u", SSLMode: "prefer", Replication: true})
	f(", max_lag: 1s", probe.MySQLConfig{User: "u", SSLMode: "prefer", Replication: true})
}

// certificate returns a certificate in PEM form.
func certificate(t *testing.T) string {
	t.Helper()
	made, _ := keyPair(t)
	return made
}

// keyPair returns a certificate and its key in PEM form.
func keyPair(t *testing.T) (cert, private string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER}))
}

func TestRoles(t *testing.T) {
	f := func(settings string, role health.Role, lag time.Duration) {
		t.Helper()
		got := checkedPool(t, ".", "    check: {type: postgres, user: u, "+settings+"}").Health
		if got.Role != role || got.MaxLag != lag {
			t.Errorf("%s: %v, %v", settings, got.Role, got.MaxLag)
		}
	}
	f("role: any", health.RoleAny, 0)
	f("role: primary", health.RolePrimary, 0)
	f("role: replica, max_lag: 5s", health.RoleReplica, 5*time.Second)
	f("max_lag: 1m, role: prefer_replica", health.RolePreferReplica, time.Minute)
}

// A check that is off keeps its other keys, and nothing is asked of them but that each alone is right.
func TestCheckOff(t *testing.T) {
	const off = "    check: {type: off, path: /x, role: primary, max_lag: 1s, fast_interval: 9s, send_proxy: true, " +
		"password_file: nowhere}"
	if got := checkedPool(t, ".", off).Health.Probe.Kind; got != probe.Off {
		t.Errorf("type is %v", got)
	}
}

// What the probes themselves refuse is found when the file is loaded, not when the program starts.
func TestCheckCannotWork(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "ca.pem"), []byte(certificate(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(minimalText, "10.0.0.1:80", "[10.0.0.1:80, unix:/run/x]", 1) +
		"    check: {type: tls, ca_file: ca.pem}"
	_, err := parse(filepath.Join(dir, "bad.yaml"), []byte(text), testLookup)
	const want = `bad.yaml:9:5: check cannot ask backend "unix:/run/x": verify the certificate behind a Unix socket: a server name is needed`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := parse(filepath.Join(dir, "good.yaml"), []byte(text[:len(text)-1]+", server_name: a.example}"), testLookup); err != nil {
		t.Error(err)
	}
}

// A password that somebody wrote into the file is not shown.
func TestMaskPassword(t *testing.T) {
	f := func(line, want string) {
		t.Helper()
		if got := maskPassword(line); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	f("    password: hush", "    password: ****")
	f(`{"Password" : "hüsh"}`, `{"Password" : *******`)
	f("headers: {Proxy-Authorization: Basic aHVzaA==}", "headers: {Proxy-Authorization: ***************")
	f("headers: {Cookie: a=b, Accept: b}", "headers: {Cookie: ***************")
	f("password:", "password:")
	f("password_file: pg.password", "password_file: pg.password")
}

// What holds for every cause yields to what a cause says itself, in whatever order.
func TestOnDown(t *testing.T) {
	f := func(settings string, change func(*health.OnDown)) {
		t.Helper()
		want := health.DefaultConfig().OnDown
		change(&want)
		if got := checkedPool(t, ".", "    on_down: "+settings).Health.OnDown; got != want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", settings, got, want)
		}
	}
	all := func(r health.CloseRule) func(*health.OnDown) {
		gentle := r
		gentle.Close = false
		return func(o *health.OnDown) {
			*o = health.OnDown{Failed: r, Demoted: r, Promoted: r, Lagging: r, Maint: r, Drain: gentle, Removed: gentle}
		}
	}
	f("{}", func(*health.OnDown) {})
	f("{sessions: close, grace: 0s, rate: 0}", all(health.CloseRule{Close: true}))
	f("{sessions: keep, grace: 1s, rate: 7}", all(health.CloseRule{Grace: time.Second, Rate: 7}))
	f("{sessions: keep}", func(o *health.OnDown) {
		o.Failed.Close, o.Demoted.Close, o.Promoted.Close, o.Maint.Close = false, false, false, false
	})
	f("{failed: {sessions: keep}}", func(o *health.OnDown) { o.Failed.Close = false })
	f("{removed: {sessions: close, rate: 5}, drain: {sessions: close, grace: 1h}}", func(o *health.OnDown) {
		o.Removed = health.CloseRule{Close: true, Rate: 5}
		o.Drain = health.CloseRule{Close: true, Grace: time.Hour}
	})
	f("{sessions: keep, grace: 1s, rate: 7, removed: {sessions: close}}", func(o *health.OnDown) {
		all(health.CloseRule{Grace: time.Second, Rate: 7})(o)
		o.Removed.Close = true
	})
	for _, settings := range []string{
		"{rate: 1, grace: 1s, sessions: close, demoted: {rate: 5}, lagging: {sessions: keep, grace: 2s}}",
		"{lagging: {sessions: keep, grace: 2s}, demoted: {rate: 5}, rate: 1, grace: 1s, sessions: close}",
	} {
		f(settings, func(o *health.OnDown) {
			all(health.CloseRule{Close: true, Grace: time.Second, Rate: 1})(o)
			o.Demoted.Rate = 5
			o.Lagging = health.CloseRule{Grace: 2 * time.Second, Rate: 1}
		})
	}
}
