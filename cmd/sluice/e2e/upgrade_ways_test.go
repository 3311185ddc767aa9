package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// The service manager is told which process is the service, by the one that was, and hears from it then: of two upgrades,
// for the second process must have the watchdog too.
func TestUpgradeNotify(t *testing.T) {
	t.Parallel()
	m := newServiceManager(t)
	u := startUpgradable(t, "sh", "-c", `export WATCHDOG_PID=$$; exec "$@"`, "sh", "env", "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=100000")
	m.expect("READY=1\nSTATUS=serving, 0 sessions open\n")
	for range 2 {
		was := u.pid()
		u.upgrades()
		m.expect("RELOADING=1\nMONOTONIC_USEC=")
		m.expect(fmt.Sprintf("MAINPID=%d\nREADY=1\nSTATUS=serving, in process %[1]d\n", u.pid()))
		m.expect("READY=1\nSTATUS=serving, 0 sessions open\n")
		if err := ended(was); err != nil {
			t.Error(err)
		}
		for m.next(true) != "WATCHDOG=1\n" {
		}
	}
}

// A session for which the new process has no place is waited for until it relays, and ended when that takes too long.
func TestUpgradeLeft(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	good := readFile(t, u.config)
	withHello := strings.Replace(good, "listeners:\n", "listeners:\n  hello: {bind: \"127.0.0.1:0\", protocol: postgres, pool: all, timeouts: {peek: 10m}}\n", 1)
	for _, relays := range []bool{true, false} {
		writeFile(t, u.config, withHello)
		output(t, u.command("reload"))
		c, err := net.Dial("tcp", u.address("hello"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		u.untilSessions(1, 0)
		deadline := "upgrade: {deadline: 1s}\n" // of the configuration that the old process has
		if relays {
			deadline = "upgrade: {deadline: 10m}\n"
		}
		writeFile(t, u.config, deadline+withHello)
		output(t, u.command("reload"))
		writeFile(t, u.config, good)
		was := u.pid()
		if text := output(t, u.command("upgrade")); !strings.Contains(text, "1 session could not go at once") {
			t.Errorf("an upgrade with a session that cannot go says %s", text)
		}
		if relays {
			if text := u.refuses(1, "upgrade"); !strings.Contains(text, "under way") && !strings.Contains(text, "taking over") {
				t.Errorf("an upgrade while a session is still to come says %s", text)
			}
			if _, err := c.Write(startupPacket); err != nil {
				t.Fatal(err)
			}
			expectBytes(t, c, startupPacket) // the server is an echo
		}
		u.untilFollowed(was)
		if relays {
			expectEcho(t, c)
			c.Close()
			u.untilSessions(0, 0)
			until(t, "it is counted among those that went over", func() error {
				if s := u.answer(); s.Upgrade == nil || s.Upgrade.Sessions != 1 {
					return fmt.Errorf("the last upgrade is %+v", s.Upgrade)
				}
				if n := u.metrics()[`sluice_upgrade_sessions_total{outcome="moved"}`]; n != 1 {
					return fmt.Errorf("%v went over", n)
				}
				return nil
			})
			continue
		}
		if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("the session that is left: %v", err)
		}
		lines := u.logged("upgrade: a session is ended: it could not go over in time")
		if len(lines) != 1 {
			t.Errorf("%d sessions are named, want 1", len(lines))
		}
		until(t, "it is counted", func() error {
			if s := u.answer(); s.Upgrade == nil || s.Upgrade.Left != 1 || s.Upgrade.Ended != 1 {
				return fmt.Errorf("the last upgrade is %+v", s.Upgrade)
			}
			if n := u.metrics()[`sluice_sessions_ended_total{listener="hello",pool="",reason="shutdown"}`]; n > 1 {
				return fmt.Errorf("%v ended", n)
			}
			return nil
		})
	}
}

// startupPacket is what a Postgres client says first: a length, a version, a user.
var startupPacket = []byte("\x00\x00\x00\x10\x00\x03\x00\x00user\x00me\x00\x00"[:16])

func expectBytes(t *testing.T, c net.Conn, want []byte) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != string(want) {
		t.Errorf("got %q %v, want %q", got, err, want)
	}
}
