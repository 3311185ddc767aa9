package main

import (
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/health"
	"sluice/l4"
	"sluice/l4/clients"
	"sluice/pool"
)

func TestDefaultSocketIsThatOfConfigs(t *testing.T) {
	file, err := configs.Simple([]string{":0"}, []string{"127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	if file.Admin.Socket != configs.DefaultSocket {
		t.Errorf("a running sluice has its socket at %s, status asks at %s", file.Admin.Socket, configs.DefaultSocket)
	}
}

func TestByteText(t *testing.T) {
	f := func(n uint64, want string) {
		t.Helper()
		if got := byteText(n); got != want {
			t.Errorf("byteText(%d) = %q, want %q", n, got, want)
		}
	}
	f(0, "0 B")
	f(1023, "1023 B")
	f(1024, "1.0 KiB")
	f(10<<10, "10 KiB")
	f(1536<<10, "1.5 MiB")
	f(1<<30, "1.0 GiB")
	f(1<<64-1, "16 EiB")
}

func TestBackendState(t *testing.T) {
	f := func(state string, b pool.BackendStats, want string) {
		t.Helper()
		if got := backendState(admin.BackendStatus{BackendStats: b, State: state}); got != want {
			t.Errorf("backendState = %q, want %q", got, want)
		}
	}
	f("ready", pool.BackendStats{Up: true}, "up")
	f("ready", pool.BackendStats{}, "down")
	f("ready", pool.BackendStats{Up: true, Ejected: true}, "ejected")
	f("ready", pool.BackendStats{Up: true, Backup: true}, "up,backup")
	// What the operator wants is told before what checks say.
	f("maint", pool.BackendStats{}, "maint")
	f("drain", pool.BackendStats{Up: true}, "drain")
}

func TestCheckText(t *testing.T) {
	f := func(s health.Status, took float64, want string) {
		t.Helper()
		if got := checkText(admin.CheckStatus{Status: s, Took: took}); got != want {
			t.Errorf("checkText = %q, want %q", got, want)
		}
	}
	f(health.Status{}, 0, "-")
	f(health.Status{LastProbe: time.Unix(1, 0)}, .0012345, "ok in 1.23ms")
	f(health.Status{LastProbe: time.Unix(1, 0), Error: "connection refused"}, 0, "connection refused")
}

func TestTable(t *testing.T) {
	tab := newTable("NAME", "N>", "NOTE")
	tab.row("a", 1, "")
	tab.row("größer", 12345, "x y")
	var got strings.Builder
	tab.print(&got)
	want := "" +
		"NAME        N  NOTE\n" +
		"a           1  -\n" +
		"größer  12345  x y\n"
	if got.String() != want {
		t.Errorf("table:\n%s\nwant:\n%s", got.String(), want)
	}
}

func TestReachable(t *testing.T) {
	f := func(address, want string) {
		t.Helper()
		if got := reachable(address); got != want {
			t.Errorf("reachable(%q) = %q, want %q", address, got, want)
		}
	}
	f("127.0.0.1:80", "127.0.0.1:80")
	f("[::1]:80", "[::1]:80")
	f("[::]:80", "localhost:80")
	f("0.0.0.0:80", "localhost:80")
	f(":80", "localhost:80")
}

func TestListText(t *testing.T) {
	f := func(want string, names ...string) {
		t.Helper()
		if got := listText(names); got != want {
			t.Errorf("listText(%q) = %q, want %q", names, got, want)
		}
	}
	f("")
	f("a", "a")
	f("a,b,c,d", "a", "b", "c", "d")
	f("a,b,c,+2", "a", "b", "c", "d", "e")
}

func TestListenerNotice(t *testing.T) {
	f := func(l l4.ListenerStats, want string) {
		t.Helper()
		l.Name = "web"
		if got := listenerNotice(l); got != want {
			t.Errorf("listenerNotice = %q, want %q", got, want)
		}
	}
	f(l4.ListenerStats{}, "")
	f(l4.ListenerStats{Clients: clients.Stats{Table: 4, Busy: 4}}, "")
	f(l4.ListenerStats{AtLimit: true, Resting: true},
		"\nlistener web: at the limit of sessions, new connections wait\n")
	f(l4.ListenerStats{Resting: true}, "\nlistener web: out of descriptors or memory, new connections wait\n")
	f(l4.ListenerStats{Clients: clients.Stats{Table: 4, Untracked: 1}},
		"\nlistener web: 1 session came in without limits per client: more than 4 clients had some\n")
}

// TestUpgradeText: whoever looks sees how the last upgrade went.
func TestUpgradeText(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	f := func(u *admin.UpgradeStatus, want string) {
		t.Helper()
		if got := upgradeText(u); got != want {
			t.Errorf("upgradeText = %q, want %q", got, want)
		}
	}
	f(nil, "")
	f(&admin.UpgradeStatus{At: at, Error: "the new process has ended: exit status 3"},
		"the last upgrade, at 2026-01-02 03:04:05, has FAILED, and the process that there was goes on:\n"+
			"  the new process has ended: exit status 3\n")
	u := &admin.UpgradeStatus{At: at, OK: true, FromVersion: "v1.2", Sessions: 1, Total: 1.23456, AcceptPause: .0123456, LongestPause: .00049}
	f(u, "upgraded from v1.2 at 2026-01-02 03:04:05: 1 session came over in 1.2346s; nobody was accepted for 12.3ms, "+
		"a session stood still for 500µs at most\n")
	u.Left = 3
	f(u, "upgraded from v1.2 at 2026-01-02 03:04:05: 1 session came over in 1.2346s, 3 sessions left behind; "+
		"nobody was accepted for 12.3ms, a session stood still for 500µs at most\n")
}
