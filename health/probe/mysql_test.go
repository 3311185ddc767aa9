package probe

import (
	"net"
	"strings"
	"syscall"
	"testing"
)

func TestMySQL(t *testing.T) {
	m := newMariaDB(t, 7, "--max-connect-errors=3")
	t.Run("Logins", func(t *testing.T) { testMySQLLogins(t, m) })
	t.Run("Refusals", func(t *testing.T) { testMySQLRefusals(t, m) })
	t.Run("OneSession", func(t *testing.T) { testMySQLOneSession(t, m) })
	t.Run("NeverBlocked", func(t *testing.T) { testMySQLNeverBlocked(t, m) })
	t.Run("End", func(t *testing.T) { testMySQLEnd(t, m) })
}

func testMySQLLogins(t *testing.T, m *mariaDB) {
	f := func(c Config, socket bool) {
		t.Helper()
		a := m.address()
		if socket {
			a = m.socket()
		}
		got, err := askOnce(t, c, a)
		if err != nil || !got.Primary || got.ID != 7 || got.System != 7 || got.Source != 0 {
			t.Errorf("%+v: %+v, %v", c.MySQL, got, err)
		}
		if position := got.Has > 0; position != (c.MySQL.User == "sluice") {
			t.Errorf("%+v: position %d", c.MySQL, got.Has)
		}
	}
	m.quiet(func() {
		for _, mode := range []string{"disable", "allow", "prefer", "require"} {
			f(mysqlAs("sluice", mode), false)
			f(mysqlAs("nobody", mode), false)
		}
		for _, mode := range []string{"prefer", "require", "verify-ca", "verify-full"} {
			c := mysqlAs("tlsonly", mode)
			if mode != "require" {
				c.TLS.CAFile = m.ca
			}
			f(c, false)
		}
		f(mysqlAs("sluice", "require"), true) // without TLS all the same
	})
	f(mysqlAs("tlsonly", "allow"), false) // denied at first, which is logged
}

func testMySQLRefusals(t *testing.T, m *mariaDB) {
	f := func(c Config, words ...string) {
		t.Helper()
		_, err := askOnce(t, c, m.address())
		wantError(t, err, words...)
	}
	wrong := mysqlAs("sluice", "prefer")
	wrong.MySQL.PasswordFile = ""
	f(wrong, `log in as "sluice": Access denied for user 'sluice'@'`, "(1045)")
	before := len(m.log())
	if _, err := askOnce(t, wrong, m.address()); err == nil || strings.Contains(err.Error(), "without TLS") {
		t.Errorf("a wrong password: %v", err)
	}
	if n := strings.Count(m.log()[before:], "Access denied"); n != 1 {
		t.Errorf("a wrong password is tried %d times", n)
	}
	f(mysqlAs("nobody2", "disable"), `log in as "nobody2": Access denied`, "(1045)")
	f(mysqlAs("curve", "disable"), "the server wants client_ed25519: give the user mysql_native_password or caching_sha2_password")
	c := mysqlAs("sluice", "verify-full")
	c.TLS = TLSConfig{CAFile: m.ca, ServerName: "other.test"}
	f(c, "TLS handshake", "other.test")
	c = mysqlAs("sluice", "prefer")
	_, stranger := authority(t, []string{"db.test"}, "127.0.0.1")
	c.TLS = TLSConfig{CAFile: stranger}
	f(c, "TLS handshake", "certificate")
	m.exec("SET GLOBAL max_connections = 10")
	var held []Prober
	for {
		p := newProber(t, mysqlAs("sluice", "prefer"), m.address())
		held = append(held, p)
		if _, err := ask(t, p); err != nil {
			wantError(t, err, "Too many connections (1040)")
			break
		}
	}
	for _, p := range held {
		p.Close()
	}
	m.exec("SET GLOBAL max_connections = 100")
}

func testMySQLOneSession(t *testing.T, m *mariaDB) {
	m.quiet(func() {
		p := newProber(t, mysqlAs("sluice", "prefer"), m.address())
		lost := lostSoon(t, p)
		for range 20 {
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
		}
		if n := m.sessions("sluice"); n != 1 {
			t.Errorf("%d sessions", n)
		}
		m.exec("SET GLOBAL read_only = 1")
		if a, err := ask(t, p); err != nil || a.Database.Primary {
			t.Errorf("with read_only: %+v, %v", a.Database, err)
		}
		m.exec("SET GLOBAL read_only = 0")
		if a, err := ask(t, p); err != nil || !a.Database.Primary {
			t.Errorf("without read_only: %+v, %v", a.Database, err)
		}
		select {
		case <-lost:
			t.Error("Wait has ended")
		default:
		}
		p.Close()
	})
}

// testMySQLNeverBlocked: MariaDB blocks a host that comes some times without logging in (max_connect_errors).
func testMySQLNeverBlocked(t *testing.T, m *mariaDB) {
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)} // MariaDB spares 127.0.0.1
	once := func(c Config) error {
		t.Helper()
		d, err := newDialer(c, m.address())
		if err != nil {
			t.Fatal(err)
		}
		d.net.LocalAddr = from
		p, err := newMySQLProber(c, d)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		_, err = ask(t, p)
		return err
	}
	before := len(m.log())
	for range 20 {
		if err := once(mysqlAs("sluice", "prefer")); err != nil {
			t.Fatal(err)
		}
	}
	untrusted := mysqlAs("sluice", "verify-full")
	untrusted.TLS = TLSConfig{CAFile: m.ca, ServerName: "other.test"}
	for _, c := range []Config{untrusted, mysqlAs("curve", "prefer"), mysqlAs("nobody2", "prefer")} {
		for range 5 {
			if err := once(c); err == nil || strings.Contains(err.Error(), "is blocked") {
				t.Errorf("%+v: %v", c.MySQL, err)
			}
		}
	}
	if log := m.log()[before:]; strings.Contains(log, "Aborted connection") {
		t.Errorf("the server has logged aborted connections:\n%s", log)
	}
	var err error
	until(t, "MariaDB blocks who does not log in", func() bool {
		for range 5 {
			_ = dialFrom(t, from, m.address()).Close()
		}
		err = once(mysqlAs("sluice", "prefer"))
		return err != nil
	})
	wantError(t, err, `log in as "sluice": greeting: Host '127.0.0.2' is blocked because of many connection errors`, "(1129)")
}

func testMySQLEnd(t *testing.T, m *mariaDB) {
	p := newProber(t, mysqlAs("sluice", "require"), m.address())
	lost := lostSoon(t, p)
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	m.stop(syscall.SIGTERM)
	wantLost(t, lost)
	_, err := ask(t, p)
	wantError(t, err, "connection refused")
	if !Unavailable(err) {
		t.Error("is not unavailable")
	}
}

func TestMySQLReplica(t *testing.T) {
	primary, replica := newMariaDB(t, 1), newMariaDB(t, 2)
	onPrimary := newProber(t, mysqlAs("sluice", "prefer"), primary.address())
	onReplica := newProber(t, mysqlAs("sluice", "prefer"), replica.address())
	said := func(p Prober) DatabaseAnswer {
		t.Helper()
		answer, err := ask(t, p)
		if err != nil {
			t.Fatal(err)
		}
		return *answer.Database
	}
	keepsUp := func() bool {
		p, r := said(onPrimary), said(onReplica)
		return p.Has > 0 && r.System == 1 && r.Source == 1 && r.Replayed == p.Has && r.AgeKnown && r.Age == 0
	}
	replica.follow(primary)
	until(t, "the replica has everything", keepsUp)
	primary.exec("INSERT INTO app.written VALUES (1)")
	until(t, "the replica has everything", keepsUp)
	primary.exec("FLUSH BINARY LOGS")
	until(t, "the replica has everything of the next file", keepsUp)
	if a, err := askOnce(t, mysqlAs("nobody", "prefer"), replica.address()); err != nil || a.Primary || a.Replayed != 0 ||
		!strings.Contains(a.Trouble, "GRANT REPLICATION CLIENT") {
		t.Errorf("to whom has no rights: %+v, %v", a, err)
	}

	replica.exec("STOP SLAVE; CHANGE MASTER TO master_delay = 3600; START SLAVE")
	primary.exec("INSERT INTO app.written VALUES (2)")
	until(t, "the replica has received more than it has replayed", func() bool {
		p, r := said(onPrimary), said(onReplica)
		return r.Has == p.Has && r.Whole == p.Has && r.Replayed < r.Has && r.Replayed > 0
	})
	replica.exec("STOP SLAVE SQL_THREAD")
	if a := said(onReplica); a.Replayed != 0 || a.Trouble != "its replication is stopped" {
		t.Errorf("it is stopped: %+v", a)
	}
	replica.exec("STOP SLAVE; CHANGE MASTER TO master_delay = 0; START SLAVE")
	until(t, "the replica has everything", keepsUp)
	primary.stop(syscall.SIGKILL)
	until(t, "the replica has lost its source", func() bool {
		return strings.Contains(replica.exec("SHOW SLAVE STATUS\\G"), "Connecting")
	})
	if a := said(onReplica); a.Primary || a.Has == 0 || a.Replayed != a.Has || a.Whole != a.Has {
		t.Errorf("without its source: %+v", a)
	}
	replica.exec("STOP SLAVE; RESET SLAVE ALL; SET GLOBAL read_only = 0")
	if a := said(onReplica); !a.Primary || a.Source != 0 || a.System != 2 || a.Has == 0 {
		t.Errorf("promoted: %+v", a)
	}
	primary.start("--read-only")
	if a := said(onPrimary); a.Primary || a.Trouble != "it replicates from nobody" {
		t.Errorf("the old primary is back: %+v", a)
	}
}
