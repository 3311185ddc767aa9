package configs

import (
	"net/netip"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/pool"
	"sluice/pool/discovery/dns"
	"sluice/pool/discovery/docker"
	"sluice/pool/discovery/file"
)

// hostNamed is the entry of a backend that is written as a host name alone.
func hostNamed(host string, port uint16) Entry {
	source := dns.DefaultConfig(host, port)
	return Entry{
		Source: SourceConfig{DNS: &source}, Name: pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, port)}.WithHost(host),
		Template: pool.BackendConfig{Weight: 1},
	}
}

// onePool reads a configuration with one pool p that has these lines.
func onePool(t *testing.T, lines string) Pool {
	t.Helper()
	text := "listeners: {l: {bind: :80, pool: p}}\npools:\n  p:\n    " + strings.ReplaceAll(lines, "\n", "\n    ")
	got, err := parse("/etc/sluice/good.yaml", []byte(text), testLookup)
	if err != nil {
		t.Fatalf("%s:\n%v", lines, err)
	}
	if len(got.Warnings) > 0 {
		t.Errorf("%s: %v", lines, got.Warnings)
	}
	return unwritten(got.Pools[0]).(Pool)
}

// TestDiscoverSources: what each form of each source comes to.
func TestDiscoverSources(t *testing.T) {
	f := func(item string, want SourceConfig) {
		t.Helper()
		p := onePool(t, "discover: "+item)
		entry := Entry{Source: want, Template: pool.BackendConfig{Weight: 1}}
		if len(p.Config.Backends) != 0 || !reflect.DeepEqual(p.Entries, []Entry{entry}) || p.OnEmpty != OnEmptyAuto || p.RemoveAfter != 30*time.Second {
			t.Errorf("%s:\ngot  %+v, key %q\nwant %+v", item, p, p.Entries[0].Source.Key(), want)
		}
	}
	inDNS := func(c dns.Config) SourceConfig { return SourceConfig{DNS: &c} }
	f("{dns: App.internal:8080}", inDNS(dns.DefaultConfig("app.internal", 8080)))
	f("[{dns: _pg._tcp.cluster.internal}]", inDNS(dns.DefaultConfig("_pg._tcp.cluster.internal", 0)))
	f("\n  dns: _pg._tcp.cluster.internal.:5432", inDNS(dns.DefaultConfig("_pg._tcp.cluster.internal.", 5432)))
	f("{dns: {name: APP, port: 1}}", inDNS(dns.DefaultConfig("app", 1)))
	f("{dns: {name: app, type: srv}}", inDNS(dns.Config{Name: "app", Type: dns.SRV, MinTTL: time.Second, MaxTTL: time.Minute}))
	f("{dns: {name: app, port: 65535, type: aaaa, resolver: [10.0.0.53, \"::1\", \"[fd00::53]:54\", \"10.0.0.53:5353\"], min_ttl: 2m, max_ttl: 2m}}",
		inDNS(dns.Config{Name: "app", Port: 65535, Type: dns.AAAA, MinTTL: 2 * time.Minute, MaxTTL: 2 * time.Minute,
			Resolvers: []netip.AddrPort{
				netip.MustParseAddrPort("10.0.0.53:53"), netip.MustParseAddrPort("[::1]:53"),
				netip.MustParseAddrPort("[fd00::53]:54"), netip.MustParseAddrPort("10.0.0.53:5353"),
			}}))
	f("{dns: {name: app, port: 1, resolver: 10.0.0.53}}", inDNS(dns.Config{Name: "app", Port: 1, Type: dns.Auto, MinTTL: time.Second,
		MaxTTL: time.Minute, Resolvers: []netip.AddrPort{netip.MustParseAddrPort("10.0.0.53:53")}}))
	f("{dns: {name: app, port: 1, resolver: []}}", inDNS(dns.DefaultConfig("app", 1)))
	f("{file: app.yaml}", SourceConfig{File: &file.Config{Path: "/etc/sluice/app.yaml"}})
	f("{file: /run/x/../app.json}", SourceConfig{File: &file.Config{Path: "/run/app.json"}})

	inDocker := func(c docker.Config) SourceConfig { return SourceConfig{Docker: &c} }
	f("{docker: app}", inDocker(docker.DefaultConfig("app")))
	f("{docker: {}}", inDocker(docker.DefaultConfig("p")))
	f("\n  - docker:", inDocker(docker.DefaultConfig("p")))
	f("{docker: {socket: \"unix:///run/d.sock\", pool: x, network: back end, port: 80}}",
		inDocker(docker.Config{Socket: "unix:/run/d.sock", Pool: "x", Network: "back end", Port: 80}))
	f("{docker: {socket: \"tcp://engine.internal:2375\", port: 0}}", inDocker(docker.Config{Socket: "tcp://engine.internal:2375", Pool: "p"}))
}

// TestFileBesideConfiguration: a relative path is that of the configuration's folder, and absolute even when that is not.
func TestFileBesideConfiguration(t *testing.T) {
	text := strings.Replace(minimalText, "backends: 10.0.0.1:80", "discover: {file: sub/app.yaml}", 1)
	got, err := parse("here/conf.yaml", []byte(text), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	want, err := filepath.Abs("here/sub/app.yaml")
	if key := got.Pools[0].Entries[0].Source.Key(); err != nil || key != "file "+want {
		t.Errorf("key %q, want the file %s, error %v", key, want, err)
	}
}

// TestEntries: backends with a host name stand where they are written, what discover finds after all, and each has its
// template.
func TestEntries(t *testing.T) {
	p := onePool(t, `template: {weight: 0, max_conns: 7, backup: true, state: drain}
discover: [{file: /a}, {dns: app:80}]
on_empty: empty
remove_after: 0s
backends:
  - seven.example:80
  - 10.0.0.1:80
  - {name: db, address: seven.example:81, weight: 3, state: maint}
  - unix:/x
  - {weight: 2, backup: true, max_conns: 9, address: "Seven.example:82"}`)
	third := hostNamed("seven.example", 82)
	third.Before, third.Name, third.Template = 2, "Seven.example:82", pool.BackendConfig{Weight: 2, Backup: true, MaxConns: 9}
	second := hostNamed("seven.example", 81)
	second.Before, second.Name, second.Named, second.Template = 1, "db", true, pool.BackendConfig{Weight: 3, State: pool.Maint}
	template := pool.BackendConfig{MaxConns: 7, Backup: true, State: pool.Drain}
	app := dns.DefaultConfig("app", 80)
	want := []Entry{
		hostNamed("seven.example", 80), second, third,
		{Source: SourceConfig{File: &file.Config{Path: "/a"}}, Before: 2, Template: template},
		{Source: SourceConfig{DNS: &app}, Before: 2, Template: template},
	}
	if !reflect.DeepEqual(p.Entries, want) || p.OnEmpty != OnEmptyEmpty || p.RemoveAfter != 0 {
		t.Errorf("got  %+v\nwant %+v", p, want)
	}
	for i := range p.Entries {
		if key := p.Entries[i].Source.Key(); key != want[i].Source.Key() {
			t.Errorf("entry %d has the key %q, want %q", i, key, want[i].Source.Key())
		}
	}
}

// TestDefaultsOfFound: defaults may say what becomes of backends that are found, for pools that find none too.
func TestDefaultsOfFound(t *testing.T) {
	text := `defaults: {pools: {on_empty: empty, remove_after: 5s, template: {weight: 5, max_conns: 1}}}
listeners: {l: {bind: :80, pool: a}}
pools:
  a: {backends: [10.0.0.1:80]}
  b: {discover: {docker: b}, template: {weight: 6}}`
	got, err := parse("d.yaml", []byte(text), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range got.Pools {
		if p.OnEmpty != OnEmptyEmpty || p.RemoveAfter != 5*time.Second {
			t.Errorf("got %+v", p)
		}
	}
	if got, want := got.Pools[1].Entries[0].Template, (pool.BackendConfig{Weight: 6, MaxConns: 1}); got != want {
		t.Errorf("template %+v, want %+v", got, want)
	}
}

// TestWarnsOfFound: a pool that nothing but weight 0 can be found for takes no sessions; where the source has weights and
// states of its own, nobody knows.
func TestWarnsOfFound(t *testing.T) {
	f := func(lines string, want bool) {
		t.Helper()
		text := "listeners: {l: {bind: :80, pool: p}}\npools: {p: {" + lines + "}}"
		got, err := parse("w.yaml", []byte(text), testLookup)
		if err != nil {
			t.Errorf("%s:\n%v", lines, err)
			return
		}
		warned := slices.ContainsFunc(got.Warnings, func(p Problem) bool { return strings.HasPrefix(p.Message, "no backend of pool") })
		if warned != want {
			t.Errorf("%s: warned %t: %v", lines, warned, got.Warnings)
		}
	}
	f("discover: {dns: app:80}", false)
	f("discover: {dns: app:80}, template: {weight: 0}", true)
	f("discover: {dns: _app._tcp.x}, template: {weight: 0}", false)
	f("discover: {dns: _app._tcp.x}, template: {state: maint}", true)
	f("discover: {docker: app}, template: {weight: 0}", false)
	f("discover: {docker: app}, template: {state: drain}", true)
	f("discover: {file: x}, template: {weight: 0, state: drain}", false)
	f("backends: [{address: seven.example:80, weight: 0}]", true)
	f("backends: [{address: seven.example:80, weight: 0}, 10.0.0.1:80]", false)
}
