package discovery

import (
	"net/netip"
	"slices"
	"testing"

	"sluice/pool"
)

// TestTidy: the order in which a source has its backends makes no difference, and one that cannot be one is left out.
func TestTidy(t *testing.T) {
	at := func(text string) pool.Address { return pool.Address{TCP: netip.MustParseAddrPort(text)} }
	port := pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, 80)}
	all := []Found{
		{Address: pool.Address{Unix: "/a"}},
		{Address: port, Host: "a.example"},
		{Address: at("10.0.0.9:80")},
		{Address: at("10.0.0.10:80")},
		{Address: at("10.0.0.10:80"), Settings: Settings{Weight: new(1)}},
		{Address: at("10.0.0.10:80"), Settings: Settings{Weight: new(1), MaxConns: new(7)}},
		{Address: at("10.0.0.10:80"), Settings: Settings{Backup: new(false)}},
		{Address: at("10.0.0.10:80"), Settings: Settings{Backup: new(true)}},
		{Address: at("10.0.0.10:80"), Settings: Settings{State: new(pool.Drain)}},
		{Address: at("10.0.0.10:80"), Name: "a"},
		{Address: at("[::ffff:10.0.0.11]:80")},
		{Address: at("10.0.0.11:80")},
		{Address: at("[2001:db8::1]:80")},
	}
	want := []Found{all[1], all[0], all[2], all[3], all[9], all[11], all[12]}
	slices.SortFunc(want, func(a, b Found) int { return a.compare(&b) })
	bad := map[string]Found{
		"backend 10.0.0.1:0: has no port":                              {Address: at("10.0.0.1:0")},
		"backend a.example:0: has no port":                             {Host: "a.example"},
		"backend :80: has no host":                                     {Address: port},
		"backend unix:/x: has a host and the path of a socket":         {Address: pool.Address{Unix: "/x"}, Host: "a.example"},
		"backend 10.0.0.1:80: weight -1: want 0 to 256":                {Address: at("10.0.0.1:80"), Settings: Settings{Weight: new(-1)}},
		"backend 10.0.0.1:80: weight 257: want 0 to 256":               {Address: at("10.0.0.1:80"), Settings: Settings{Weight: new(257)}},
		"backend 10.0.0.1:80: max_conns -1: want 0 (no limit) or more": {Address: at("10.0.0.1:80"), Settings: Settings{MaxConns: new(-1)}},
		"backend 10.0.0.1:80: unknown state AdminState(9)":             {Address: at("10.0.0.1:80"), Settings: Settings{State: new(pool.AdminState(9))}},
	}
	var warnings []string
	for text, f := range bad {
		all, warnings = append(all, f), append(warnings, text)
	}
	slices.Sort(warnings)
	for range len(all) {
		all = append(all[1:], all[0]) // in another order
		got, wrong := tidy(all)
		if !slices.EqualFunc(got, want, func(a, b Found) bool { return a.compare(&b) == 0 }) || !slices.Equal(wrong, warnings) {
			t.Fatalf("%+v, want %+v\n%q, want %q", got, want, wrong, warnings)
		}
	}
}

// TestFew: a log line has the first few backends.
func TestFew(t *testing.T) {
	f := func(want string, found []Found) {
		t.Helper()
		if got := few(found); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	f("", nil)
	f("a 10.0.0.1:80, 10.0.0.2:80", found("2", "a=1"))
	f("10.0.0.0:80, 10.0.0.1:80, 10.0.0.2:80, 10.0.0.3:80, 10.0.0.4:80 and 2 more", many(7, ""))
}
