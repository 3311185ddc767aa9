package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"sluice/configs"
	"sluice/pool/discovery"
	"sluice/pool/discovery/dns"
)

// TestReloadToOtherSource: a pool that gets its backends from somewhere else has them at once, the same ones where they are
// the same, and is not without any until the new source has been asked.
func TestReloadToOtherSource(t *testing.T) {
	r, s := newFound(t, "", "")
	s.answers("dns app:80", "10.0.1.1:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3")
	was := r.now.Load().pool("p").Backends()
	s.answers("dns app2:80", "10.0.1.1:80", "10.0.1.2:80")
	stays := func(want string) {
		t.Helper()
		if got := r.backends(); got != want {
			t.Fatalf("backends %s, want %s", got, want)
		}
		for i, b := range r.now.Load().pool("p").Backends()[:len(was)] {
			if b != was[i] {
				t.Errorf("backend %s is another one: its sessions are on one that was removed", b.Name())
			}
		}
	}
	before := r.text.Load()
	r.text.Store(strings.Replace(before.(string), "{dns: app:80}", "{dns: app2:80}", 1))
	if c, err := r.reloadFrom(r.read, true); err != nil || !strings.Contains(c.String(), "10.0.1.2:80") {
		t.Errorf("a dry run does not know what would be found: %s, %v", c.String(), err)
	}
	if r.watch.Answer("dns app2:80").Answered() {
		t.Error("an answer that a dry run has got is kept")
	}
	r.text.Store(before)
	r.change("{dns: app:80}", "{dns: app2:80}")
	stays("10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")

	s.answers("file "+r.dir+"/list2", "app3:80")
	s.answers("dns app3:80", "10.0.1.1:80")
	r.change("{dns: app2:80}, {file: DIR/list}", "{file: DIR/list2}")
	stays("10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3")

	s.answers("dns db:80 min_ttl=2s", "10.0.0.2:80")
	s.answers("dns db:80", "10.0.0.1:80")
	r.until("a name", "10.0.9.1:80 10.0.0.1:80 10.0.9.2:80 10.0.1.1:80,w3")
	r.change("{file: DIR/list2}", "{file: DIR/list2}, {dns: {name: db, port: 80, min_ttl: 2s}}")
	if got, want := r.backends(), "10.0.9.1:80 10.0.0.1:80 10.0.9.2:80 10.0.0.2:80,w3 10.0.1.1:80,w3"; got != want {
		t.Errorf("asked in two ways: backends %s, want %s", got, want)
	}
	if c := r.change(`"db:80"`, `"silent:80"`); !strings.Contains(c, "! warning: t.yaml:11:") || !strings.Contains(c, "dns silent:80") {
		t.Errorf("nothing says that a source does not answer: %s", c)
	}
}

// hung is a source that is not to be stopped, such as a file on a server that does not answer.
type hung struct{ discovery.Source }

func (hung) Ask(context.Context) ([]discovery.Found, error) { select {} }

// TestAskHung: nobody waits for a source that hangs, and the others have their say.
func TestAskHung(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	s := new(sources)
	s.answers("dns good:80", "10.0.0.1:80")
	all := make(map[string]configs.SourceConfig)
	for _, name := range []string{"bad", "good"} {
		c := dns.DefaultConfig(name, 80)
		all[c.Key()] = configs.SourceConfig{DNS: &c}
	}
	answers := askWithin(ctx, all, func(c configs.SourceConfig) discovery.Source {
		if c.DNS.Name == "bad" {
			return hung{}
		}
		return s.source(c.Key())
	})
	if bad, good := answers["dns bad:80"], answers["dns good:80"]; !errors.Is(bad.err, context.DeadlineExceeded) || good.err != nil || len(good.found) != 1 {
		t.Errorf("%+v", answers)
	}
}

// TestReloadDeserts: a configuration that would leave a pool without the backends that it has changes nothing, unless it says
// that this is meant; one that had none may have none.
func TestReloadDeserts(t *testing.T) {
	r, s := newFoundRig(t, `
log: {level: error, sessions: "off"}
admin: {listen: "", socket: "DIR/control"}
listeners: {l: {bind: "unix:DIR/l", pool: p}}
pools: {p: {check: {type: "off"}, backends: ["10.0.9.1:80"]}, other: {discover: {dns: none:80}}}
`)
	s.answers("dns empty:80")
	refused := func(old, by, want string) {
		t.Helper()
		before := r.text.Load()
		r.text.Store(strings.Replace(before.(string), old, by, 1))
		c, err := r.reload("test")
		if problems := configs.Problems(nil); !errors.As(err, &problems) || problems[0].Line != 5 || !strings.Contains(err.Error(), want) {
			t.Fatalf("it is in force: %v, %s", err, c.String())
		}
		if got := r.backends(); got != "10.0.9.1:80" {
			t.Errorf("backends %s", got)
		}
		r.text.Store(before)
	}
	refused(`backends: ["10.0.9.1:80"]`, "discover: {dns: silent:80}", "pool p would be without backends: dns silent:80: ")
	refused(`backends: ["10.0.9.1:80"]`, `backends: ["empty:80"]`, "pool p would be without backends: dns empty:80: ")
	r.change("none:80", "silent:80")
	s.answers("dns app:80", "10.0.0.1:80")
	r.change(`backends: ["10.0.9.1:80"]`, `on_empty: empty, discover: {dns: app:80}`)
	r.change("app:80", "empty:80")
	r.until("it is meant", "")
}
