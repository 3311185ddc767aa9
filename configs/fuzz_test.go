package configs

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"sluice/health/probe"
	"sluice/l4"
	"sluice/l4/route"
	"sluice/pool"
)

// FuzzParse holds every input to the same promises: no panic; a file or problems, never both or neither; each problem in
// its place in the file, in order, and readable.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"*.yaml", "testdata/bad/*.yaml"} {
		paths, err := filepath.Glob(pattern)
		if err != nil || len(paths) == 0 {
			f.Fatalf("no seeds in %s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data)
		}
	}
	for _, h := range hostile {
		f.Add(repeatTo(1<<10, h.before, h.repeated))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := parse("f.yaml", data, testLookup)
		if err != nil {
			if file != nil {
				t.Error("a file and an error")
			}
			checkPositions(t, data, err)
			return
		}
		checkFile(t, file)
	})
}

func checkPositions(t *testing.T, data []byte, err error) {
	t.Helper()
	var problems Problems
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("error is %T, want Problems: %v", err, err)
	}
	lines := strings.Split(text(data), "\n")
	line := 0
	for _, p := range problems {
		switch {
		case len(data) > maxFileSize && p.Line == 0: // the file as a whole
		case len(problems) > maxProblems && p == problems[maxProblems]: // how many more there are
			continue
		case p.Line < max(line, 1) || p.Line > len(lines):
			t.Errorf("line is outside the file's %d or out of order: %v", len(lines), p)
		case p.Source != maskPassword(lines[p.Line-1]):
			t.Errorf("source %q, line %q: %v", p.Source, lines[p.Line-1], p)
		case p.Column < 1 || p.Column > utf8.RuneCountInString(p.Source)+1:
			t.Errorf("column is outside the line: %v", p)
		}
		if p.Message == "" || !utf8.ValidString(p.Message) || strings.ContainsFunc(p.Message, func(r rune) bool { return r < ' ' }) {
			t.Errorf("message is not one line of text: %q", p.Message)
		}
		line = p.Line
	}
	if !utf8.ValidString(problems.Error()) {
		t.Error("the error is not text")
	}
}

// checkFile holds a file to what File promises.
func checkFile(t *testing.T, file *File) {
	t.Helper()
	if len(file.Listeners) == 0 || len(file.Pools) == 0 {
		t.Error("a file without listeners or pools")
	}
	for _, l := range file.Listeners {
		if len(l.Bind) == 0 || l.Name == "" {
			t.Errorf("listener is not complete: %+v", l)
		}
		checkRouting(t, file, l)
		checkAccess(t, l)
		if l.AcceptProxy != nil && len(l.AcceptProxy.From) == 0 {
			t.Errorf("listener believes nobody or everybody: %+v", l)
		}
	}
	for _, p := range file.Pools {
		if len(p.Config.Backends)+len(p.Entries) == 0 {
			t.Errorf("pool has no backends: %+v", p)
		}
		if len(p.TLVs) > 0 && p.SendProxy != l4.ProxyV2 {
			t.Errorf("TLVs without a header of version 2: %+v", p)
		}
		for _, b := range p.Config.Backends {
			if b.Name == "" || !b.Address.IsUnix() && (!b.Address.TCP.IsValid() || b.Address.TCP.Port() == 0) {
				t.Errorf("backend is not complete: %+v", b)
			}
		}
		checkHealth(t, p)
		checkEntries(t, p)
	}
}

// checkEntries holds the sources of a pool to what the packages that ask them take.
func checkEntries(t *testing.T, p Pool) {
	t.Helper()
	for _, e := range p.Entries {
		s := e.Source
		byDNS := s.DNS != nil && checkHostName(s.DNS.Name) == nil && (s.DNS.Port != 0 || s.DNS.AsksSRV()) &&
			0 < s.DNS.MinTTL && s.DNS.MinTTL <= s.DNS.MaxTTL
		byFile := s.File != nil && filepath.IsAbs(s.File.Path)
		byDocker := s.Docker != nil && checkName(s.Docker.Pool) == nil && s.Docker.Socket != ""
		kinds := slices.DeleteFunc([]bool{s.DNS != nil, s.File != nil, s.Docker != nil}, func(there bool) bool { return !there })
		if len(kinds) != 1 || !byDNS && !byFile && !byDocker {
			t.Errorf("source of %+v", e)
		}
		if e.Before > len(p.Config.Backends) || e.Template.Name != "" || e.Template.Address != (pool.Address{}) || e.Name != "" && !byDNS {
			t.Errorf("entry %+v of %d backends", e, len(p.Config.Backends))
		}
	}
	if p.RemoveAfter < 0 || !slices.Contains([]OnEmpty{OnEmptyAuto, OnEmptyKeep, OnEmptyEmpty}, p.OnEmpty) {
		t.Errorf("pool %+v", p)
	}
}

// checkRouting checks that every session of a listener has a pool or is meant to be refused.
func checkRouting(t *testing.T, file *File, l Listener) {
	t.Helper()
	if file.Pool(l.Pool) == nil && (l.Pool != "" || len(l.Routes) == 0) {
		t.Errorf("listener without a pool: %+v", l)
	}
	var routes []route.Rule
	for _, r := range l.Routes {
		if file.Pool(r.Pool) == nil {
			t.Errorf("route without a pool: %+v", r)
		}
		routes = append(routes, r.Rule)
	}
	if err := l4.CheckRoutes(l.Protocol, routes); err != nil {
		t.Errorf("routes of %+v: %v", l, err)
	}
}

// checkAccess checks that limits are ones, and that nobody is let in by an allow that says nothing.
func checkAccess(t *testing.T, l Listener) {
	t.Helper()
	if err := l.PerClient.Check(); err != nil || l.MaxSessions < 0 {
		t.Errorf("limits of %+v: %v", l, err)
	}
	allow, deny, err := l.ReadAccess()
	if err != nil || len(allow) < len(l.Allow.List) || len(deny) < len(l.Deny.List) {
		t.Errorf("%+v allows %v and denies %v, error %v", l, allow, deny, err)
	}
	for _, p := range slices.Concat(allow, deny) {
		if p != p.Masked() || !p.IsValid() {
			t.Errorf("network %v", p)
		}
	}
}

// checkHealth holds the check of a pool to what health.Config and probe.Config promise.
func checkHealth(t *testing.T, p Pool) {
	t.Helper()
	h, asks := p.Health, p.Health.Probe
	if asks.Kind == probe.Off {
		return
	}
	ordered := 0 < h.FastInterval && h.FastInterval <= h.Interval && h.Interval <= h.DownInterval
	if !ordered || h.Timeout <= 0 || h.Jitter < 0 || h.Jitter > 1 {
		t.Errorf("times are not in order: %+v", h)
	}
	if asks.ProxyVersion != 0 && asks.ProxyVersion != uint8(p.SendProxy) {
		t.Errorf("the probe sends another header than sessions: %+v", p)
	}
	if p.DeadPeer != 0 && p.DeadPeer < leastDeadPeer {
		t.Errorf("dead_peer is %v", p.DeadPeer)
	}
	pg := asks.Postgres
	if asks.Kind == probe.Postgres && (pg.User == "" || strings.HasPrefix(pg.SSLMode, "verify-") && asks.TLS.CAFile == "") {
		t.Errorf("nobody to log in as, or nothing to verify with: %+v", asks)
	}
	for _, b := range p.Config.Backends {
		if _, err := probe.New(asks, b.Address); err != nil {
			t.Errorf("probe of %+v: %v", b, err)
		}
	}
}
