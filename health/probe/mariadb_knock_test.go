package probe

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// TestMariaDBSeesNoKnock: MariaDB counts connections that come without a login, logs each, and blocks a host after the
// hundredth (max_connect_errors). It does so for plain connections of this test, and knows nothing of its probes.
func TestMariaDBSeesNoKnock(t *testing.T) {
	const probes, plain = 150, 101
	log, port := runMariaDB(t)
	// MariaDB spares 127.0.0.1, which needs no name.
	from := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	a := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	p := &tcpProber{dialer: &dialer{address: a, net: net.Dialer{LocalAddr: from}}}
	for range probes {
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
	}
	greeting := func() string {
		t.Helper()
		conn := dialFrom(t, from, a)
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patient))
		said := make([]byte, 200)
		n, err := io.ReadAtLeast(conn, said, 8)
		if err != nil {
			t.Fatal(err)
		}
		return string(said[:n])
	}
	if got := greeting(); got[4] != 10 { // the version of the protocol, where an error has 0xff
		t.Errorf("after %d probes MariaDB says %q", probes, got)
	}
	for range plain {
		_ = dialFrom(t, from, a).Close()
	}
	until(t, "MariaDB blocks the host of plain connections", func() bool { return strings.Contains(greeting(), "is blocked") })
	text, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	// Those of greeting are in the log as well; the last ones may not be yet.
	if n := strings.Count(string(text), "Aborted connection"); n > plain+probes/2 {
		t.Errorf("%d lines of aborted connections in the log, want those of %d plain ones", n, plain)
	}
}

func dialFrom(t *testing.T, from *net.TCPAddr, to pool.Address) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{LocalAddr: from}).Dial("tcp", to.TCP.String())
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// runMariaDB runs a server with a user that may come from anywhere, until the test is over.
func runMariaDB(t *testing.T) (log string, port uint16) {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-probe-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	owner := systest.Unprivileged(t) // MariaDB refuses to be root
	if owner != nil {
		if err := os.Chown(dir, int(owner.Uid), int(owner.Gid)); err != nil {
			t.Fatal(err)
		}
	}
	setup := filepath.Join(dir, "setup.sql")
	if err := os.WriteFile(setup, []byte("CREATE USER sluice@'%';\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	data, log := "--datadir="+filepath.Join(dir, "data"), filepath.Join(dir, "error.log")
	install := exec.Command("mariadb-install-db", "--no-defaults", data, "--skip-test-db",
		"--auth-root-authentication-method=normal", "--innodb-flush-method=nosync")
	install.Dir = dir
	install.SysProcAttr = &syscall.SysProcAttr{Credential: owner, Pdeathsig: syscall.SIGKILL}
	if out, err := install.CombinedOutput(); err != nil {
		t.Fatalf("mariadb-install-db: %v\n%s", err, out)
	}
	port = uint16(systest.ReservePort(t))
	runServerAs(t, owner, []uint16{port}, "/usr/sbin/mariadbd", "--no-defaults", data, "--log-error="+log,
		"--socket="+filepath.Join(dir, "socket"), "--pid-file="+filepath.Join(dir, "pid"), "--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", port), "--init-file="+setup, "--max-connect-errors=100",
		"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M")
	return log, port
}
