package dns

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// TestSettings: what resolv.conf says, and what holds where it says nothing.
func TestSettings(t *testing.T) {
	const usual = "[127.0.0.1:53 [::1]:53] 5s 2 false false [] 1"
	for conf, want := range map[string]string{
		"": usual,
		"# nameserver 10.0.0.1\n;options rotate\n":                         usual,
		"nameserver\nnameserver host\noptions\nx\n":                        usual,
		"nameserver 10.0.0.1\nnameserver fd00::1\nnameserver fe80::1%eth0": "[10.0.0.1:53 [fd00::1]:53 [fe80::1%eth0]:53] 5s 2 false false [] 1",
		"search a.internal b.internal.\nsearch c d\noptions ndots:5":       "[127.0.0.1:53 [::1]:53] 5s 2 false false [c d] 5",
		"domain a.internal":                           "[127.0.0.1:53 [::1]:53] 5s 2 false false [a.internal] 1",
		"options timeout:1 attempts:3 rotate use-vc":  "[127.0.0.1:53 [::1]:53] 1s 3 true true [] 1",
		"options timeout:99\noptions attempts:99":     "[127.0.0.1:53 [::1]:53] 30s 5 false false [] 1",
		"options timeout:0 attempts:-1 ndots:99":      "[127.0.0.1:53 [::1]:53] 1s 1 false false [] 15",
		"options timeout:99999999999999 attempts:1e9": "[127.0.0.1:53 [::1]:53] 30s 1 false false [] 1",
	} {
		s := parseSettings([]byte(conf))
		if got := fmt.Sprint(s.list, s.timeout, s.attempts, s.rotate, s.tcp, s.search, s.ndots); got != want {
			t.Errorf("%q: %s, want %s", conf, got, want)
		}
	}
}

// TestNames: what a name is tried as.
func TestNames(t *testing.T) {
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		name, search string
		ndots        int
		want         string
	}{
		{"app", "", 1, "app."},
		{"app.", "x", 1, "app."},
		{"app", "x y.", 1, "app.x. app.y. app."},
		{"app.b", "x", 1, "app.b. app.b.x."},
		{"app.b", "x", 2, "app.b.x. app.b."},
		{"App.b.", "x", 5, "app.b."},
		{"app", "X", 0, "app. app.x."},
		{"app", ".", 1, "app."},
		{"app", "x x", 1, "app.x. app."},
		{"a..b", "", 1, ""},
		{"", "", 1, ""},
		{long + "a", "", 1, ""},
		{long + "." + long + "." + long, long + " x", 9, long + "." + long + "." + long + ".x. " + long + "." + long + "." + long + "."},
	} {
		s := &settings{search: strings.Fields(c.search), ndots: c.ndots}
		if got := strings.Join(s.names(c.name), " "); got != c.want {
			t.Errorf("%s with search %q, ndots %d: %s, want %s", c.name, c.search, c.ndots, got, c.want)
		}
	}
	if got := text(system(DefaultConfig("a..b", 80), nil).look(t.Context(), nil)); got != "error: look up a..b: not a name that DNS can have" {
		t.Error(got)
	}
}

// TestSearchList: the first name that has addresses is it. One that is not answered is passed over, unless it was it.
func TestSearchList(t *testing.T) {
	inner, outer := "app.ns.internal. 30 IN A 10.0.0.1", "app.internal. 30 IN A 10.0.0.2"
	s := listen(t, "127.0.0.1", zone{inner, outer}.answer(t))
	source := system(DefaultConfig("app", 80), func(s *settings) { s.search = []string{"ns.internal", "internal"} }, s.at)
	first, err := source.look(t.Context(), nil)
	if got := text(first, err); got != "10.0.0.1:80" {
		t.Fatal(got)
	}
	s.become(zone{outer}.answer(t))
	if got := text(source.look(t.Context(), first.had)); got != "10.0.0.2:80" {
		t.Errorf("found %s when the first name has gone", got)
	}
	s.become(func(_ string, q *miekg.Msg) [][]byte {
		if strings.HasPrefix(q.Question[0].Name, "app.ns.") {
			return packed(t, new(miekg.Msg).SetRcode(q, miekg.RcodeServerFailure))
		}
		return packed(t, zone{outer}.message(t, q))
	})
	want := "error: look up A, AAAA of app.ns.internal.: ask " + s.at.String() + ": SERVFAIL"
	if got := text(source.look(t.Context(), first.had)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got := text(source.look(t.Context(), nil)); got != "10.0.0.2:80" {
		t.Errorf("found %s, want that of the second name", got)
	}
	s.become(says(t, miekg.RcodeRefused))
	want = "error: look up A, AAAA of app.ns.internal., app.internal., app.: ask " + s.at.String() + ": REFUSED"
	if got := text(source.look(t.Context(), nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	s.become(zone{}.answer(t))
	s.questions()
	if got := text(source.look(t.Context(), nil)); got != "" {
		t.Errorf("found %s where no name is there", got)
	}
	if asked := s.questions(); len(asked) != 6 {
		t.Errorf("asked %q", asked)
	}
}

// at writes a file that a source reads.
func at(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestResolvConfReplaced: the next look-up is of those that it names then, however it was written.
func TestResolvConfReplaced(t *testing.T) {
	servers := map[netip.Addr]netip.AddrPort{}
	for _, n := range []string{"1", "2", "3"} {
		servers[netip.MustParseAddr("192.0.2."+n)] = listen(t, "127.0.0.1", zone{"app.internal. 30 IN A 10.0.0." + n}.answer(t)).at
	}
	dir := t.TempDir()
	path := at(t, filepath.Join(dir, "resolv.conf"), "nameserver 192.0.2.1\nsearch internal\n")
	s := New(DefaultConfig("app", 80)).(*source)
	s.hosts.path, s.settings.path = filepath.Join(dir, "hosts"), path
	reads := 0
	s.settings.parse = func(text []byte) *settings {
		is := parseSettings(text)
		for i, server := range is.list {
			is.list[i] = servers[server.Addr()] // resolv.conf has no ports
		}
		reads++
		return is
	}
	look := func(want string) {
		t.Helper()
		if got := text(s.look(t.Context(), nil)); got != want {
			t.Errorf("found %s, want %s", got, want)
		}
	}
	look("10.0.0.1:80")
	at(t, path, "nameserver 192.0.2.2\nsearch internal\n")
	look("10.0.0.2:80")
	if err := os.Rename(at(t, filepath.Join(dir, "new"), "nameserver 192.0.2.3\nsearch internal\n"), path); err != nil {
		t.Fatal(err)
	}
	look("10.0.0.3:80")
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(-time.Hour)); err != nil {
		t.Fatal(err)
	}
	look("10.0.0.3:80")
	reads = 0
	look("10.0.0.3:80")
	if reads > 0 {
		t.Error("it was read again without a change")
	}
	at(t, filepath.Join(dir, "hosts"), "10.1.0.1 app # since now\n10.1.0.2 other\n")
	look("10.1.0.1:80")
	if err := os.Remove(filepath.Join(dir, "hosts")); err != nil {
		t.Fatal(err)
	}
	look("10.0.0.3:80")
}

// TestHosts: names that the hosts file has are not asked for.
func TestHosts(t *testing.T) {
	hosts := at(t, filepath.Join(t.TempDir(), "hosts"), `
# 10.9.9.9 app
10.0.0.1	app.internal App   # as written
fd00::1	x app
10.0.0.2 app
10.0.0.2 app app
::ffff:10.0.0.3 app
0.0.0.0 blocked
bad app
10.0.0.4
10.0.0.5 apps
`)
	s := listen(t, "127.0.0.1", zone{"v4.internal. 30 IN AAAA fd00::9", "app. 30 IN SRV 0 0 1 x.", "x. 30 IN A 10.0.0.99"}.answer(t))
	for _, c := range []struct {
		name string
		kind Type
		want string
	}{
		{"app", Auto, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 [fd00::1]:80"},
		{"app.", A, "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80"},
		{"app", AAAA, "[fd00::1]:80"},
		{"app.internal", Auto, "10.0.0.1:80"},
		{"app.internal", AAAA, ""},
		{"app", SRV, "10.0.0.99:80"},
		{"other", Auto, ""},
		{"blocked", Auto, "error: blocked has 0.0.0.0, which is not the address of a server"},
	} {
		config := DefaultConfig(c.name, 80)
		config.Type = c.kind
		of := system(config, nil, s.at)
		of.hosts = New(config).(*source).hosts
		of.hosts.path = hosts
		a, err := of.look(t.Context(), nil)
		if got := text(a, err); got != c.want {
			t.Errorf("%s of type %s: %s, want %s", c.name, c.kind, got, c.want)
		}
		asked := s.questions()
		if fromFile := c.want != "" && c.kind != SRV; fromFile != (len(asked) == 0) {
			t.Errorf("%s of type %s: asked %q", c.name, c.kind, asked)
		} else if fromFile && err == nil && a.ttl != hostsPause {
			t.Errorf("%s: looked up again after %v", c.name, a.ttl)
		}
	}
}

// TestThisMachine: the files of this machine are those that are read.
func TestThisMachine(t *testing.T) {
	s := New(DefaultConfig("app", 80)).(*source)
	if s.hosts.path != "/etc/hosts" || s.settings.path != "/etc/resolv.conf" {
		t.Errorf("reads %s and %s", s.hosts.path, s.settings.path)
	}
	if list := s.settings.get().list; !slices.ContainsFunc(list, func(a netip.AddrPort) bool { return a.Port() == 53 }) {
		t.Errorf("asks %v", list)
	}
}
