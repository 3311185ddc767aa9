package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/cmd/sluice/internal/statefile"
	"sluice/configs"
	"sluice/health"
	"sluice/health/probe"
	"sluice/pool"
)

// An applyRig is a world that serves, and the text that it reads next.
type applyRig struct {
	*testing.T
	*world
	text atomic.Value
	dir  string // DIR in a text
}

func newApplyRig(t *testing.T, text string) *applyRig {
	t.Helper()
	r := &applyRig{T: t, dir: t.TempDir()}
	r.text.Store(text)
	file, err := r.parse()
	if err != nil {
		t.Fatal(err)
	}
	log, out := newLogger(io.Discard, file.Log)
	t.Cleanup(out.close)
	r.serve(file, log, out, bindAdvice{})
	return r
}

func (r *applyRig) parse() (*configs.File, error) {
	return configs.Parse("t.yaml", []byte(strings.ReplaceAll(r.text.Load().(string), "DIR", r.dir)))
}

// change replaces a part of the text and reloads.
func (r *applyRig) change(old, by string) string {
	r.Helper()
	r.text.Store(strings.Replace(r.text.Load().(string), old, by, 1))
	c, err := r.reload("test")
	if err != nil {
		r.Fatal(err)
	}
	return c.String()
}

const applyText = `
log: {level: error, sessions: failed, format: text}
admin: {listen: "", socket: {path: "DIR/control", mode: 0600}, state_file: "DIR/state.json"}
listeners: {l: {bind: "unix:DIR/l", pool: p}}
pools: {p: {check: {type: "off"}, backends: [{name: a, address: "127.0.0.1:1"}, {name: b, address: "127.0.0.1:2"}]}}
`

// TestLogLevelOfReload: which sessions are logged goes by the level of the same configuration, and not by the one before.
func TestLogLevelOfReload(t *testing.T) {
	r := newApplyRig(t, applyText)
	if now := r.sessions.logged(); now != configs.SessionsOff {
		t.Errorf("sessions: %v are logged, and nobody would see them", now)
	}
	r.change("level: error", "level: info")
	if now := r.sessions.logged(); now != configs.SessionsFailed {
		t.Errorf("sessions: %v are logged, want the failed ones", now)
	}
	if got, want := r.change("format: text", "format: json"), "! log.format: text -> json: waits for the next start or upgrade\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestControlSocketMode: a control socket that stays at its path is given the mode that is written now.
func TestControlSocketMode(t *testing.T) {
	r := newApplyRig(t, applyText)
	f := func(want os.FileMode) {
		t.Helper()
		if info, err := os.Stat(filepath.Join(r.dir, "control")); err != nil || info.Mode().Perm() != want {
			t.Errorf("mode %v, %v, want %v", info.Mode(), err, want)
		}
	}
	f(0o600)
	r.change("0600", "0660")
	f(0o660)
	r.change(", mode: 0660", "")
	f(0o600)
}

// TestReloadsComeInOrder: a reload that has read and is slow does not undo one that has read after it.
func TestReloadsComeInOrder(t *testing.T) {
	r := newApplyRig(t, applyText)
	var reads atomic.Int32
	began, resume := make(chan struct{}), make(chan struct{})
	r.read = func() (*configs.File, error) {
		file, err := r.parse()
		if reads.Add(1) == 1 {
			close(began)
			<-resume
		}
		return file, err
	}
	done := make(chan error, 2)
	reload := func() {
		_, err := r.reload("test")
		done <- err
	}
	go reload()
	<-began
	r.text.Store(strings.Replace(applyText, "pool: p", "pool: p, max_sessions: 7", 1))
	go reload()
	left := 2
	select { // the second one would be done by now if it did not wait
	case err := <-done:
		t.Errorf("a reload came between another one's reading and what comes of it: %v", err)
		left--
	case <-time.After(100 * time.Millisecond):
	}
	close(resume)
	for range left {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if n := r.now.Load().force.Listeners[0].MaxSessions; n != 7 {
		t.Errorf("max_sessions is %d: what was read first is in force, not what was written last", n)
	}
}

// TestUnproven: a backend waits for its first check only where another one serves meanwhile. One of the same name at
// another address is another one. Where a check says what a backend is, it waits for that anyway.
func TestUnproven(t *testing.T) {
	parse := func(backends string) configs.Pool {
		t.Helper()
		file, err := configs.Parse("t.yaml", []byte("listeners: {l: {bind: \":1\", pool: p}}\npools: {p: {backends: ["+backends+"]}}\n"))
		if err != nil {
			t.Fatal(err)
		}
		return file.Pools[0]
	}
	f := func(backends string, kind probe.Kind, role health.Role, want bool) {
		t.Helper()
		p, err := pool.New(parse(`{name: a, address: "10.0.0.1:80"}, {name: b, address: "10.0.0.2:80"}`).Config)
		if err != nil {
			t.Fatal(err)
		}
		next := parse(backends)
		next.Health.Probe.Kind, next.Health.Role = kind, role
		next.Config.Backends = unproven(next.Config.Backends, &next.Health)
		c, err := p.Update(next.Config)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range c.Added {
			if down := !b.Stats().Up; down != want {
				t.Errorf("%s: %s begins down: %v", backends, b.Name(), down)
			}
		}
	}
	f(`{name: a, address: "10.0.0.1:80"}, {name: c, address: "10.0.0.3:80"}`, probe.TCP, health.RoleAny, true)
	f(`{name: a, address: "10.0.0.1:80", state: drain}, {name: c, address: "10.0.0.3:80"}`, probe.TCP, health.RoleAny, false)
	f(`{name: a, address: "10.0.0.1:80"}, {name: c, address: "10.0.0.3:80"}`, probe.Off, health.RoleAny, false)
	f(`{name: c, address: "10.0.0.3:80"}`, probe.TCP, health.RoleAny, false)
	f(`{name: c, address: "10.0.0.3:80"}`, probe.Postgres, health.RolePrimary, true)
	f(`{name: a, address: "10.0.1.1:80"}, {name: b, address: "10.0.1.2:80"}`, probe.TCP, health.RoleAny, false)
}

// TestAddAndRemove: what the configuration has or listens on is not what an override adds.
func TestAddAndRemove(t *testing.T) {
	r := newApplyRig(t, applyText)
	by := admin.By{User: "test"}
	f := func(address, name, key, want string) {
		t.Helper()
		_, err := r.AddBackend(t.Context(), "p", admin.NewBackend{Address: address, Name: name, Set: map[string]string{key: "1"}}, by)
		if err == nil != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("add %s as %s: %v, want %q", address, name, err, want)
		}
	}
	if _, err := r.RemoveBackend(t.Context(), "p", "b", by); err != nil {
		t.Fatal(err)
	}
	f("127.0.0.1:9", "b", overrides.Weight, "an override has removed it: unset that")
	f("127.0.0.1:9", "c", overrides.Removed, "unknown key")
	f("unix:"+r.dir+"/l", "c", overrides.Weight, "listens on itself")
	f("unix:"+r.dir+"/later", "c", overrides.Backup, "")
	names := func() string {
		var all []string
		for _, b := range r.now.Load().pools[0].Backends() {
			all = append(all, b.Name())
		}
		return strings.Join(all, " ")
	}
	if got := names(); got != "a c" {
		t.Errorf("backends %s", got)
	}
	if got := r.change("unix:DIR/l", "unix:DIR/later"); !strings.Contains(got, "has no effect") || !strings.Contains(got, "- backend p/c") {
		t.Errorf("a listener where a backend was added: %s", got)
	}
	for _, s := range r.Overrides() {
		if s.Dormant != (s.Backend == "c") {
			t.Errorf("dormant is %v: %+v", s.Dormant, s.Setting)
		}
	}
	r.change("unix:DIR/later", "unix:DIR/l")
	if got := names(); got != "a c" {
		t.Errorf("backends %s", got)
	}
	got := r.change(`{name: b, address: "127.0.0.1:2"}`, `{name: c, address: "127.0.0.1:3"}`)
	if want := "has no effect: the file has the backend, at 127.0.0.1:3"; !strings.Contains(got, want) {
		t.Errorf("got %s, want %q", got, want)
	}
	for _, s := range r.Overrides() {
		if s.Dormant != (s.Key != overrides.Backup) {
			t.Errorf("dormant is %v: %+v", s.Dormant, s.Setting)
		}
	}
}

// TestStateIsWrittenWhenItCanBe: what could not be written is tried again. Who leaves writes no more: a successor does.
func TestStateIsWrittenWhenItCanBe(t *testing.T) {
	r := newApplyRig(t, strings.Replace(applyText, "DIR/state.json", "DIR/state/state.json", 1))
	path := filepath.Join(r.dir, "state", "state.json")
	c, err := r.Override(t.Context(), "p", "a", map[string]string{overrides.State: "drain"}, admin.By{})
	if err != nil || len(c.Warnings) == 0 {
		t.Fatalf("%+v, %v: want a warning", c, err)
	}
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	r.applying.Lock()
	r.saveNews(0)
	r.applying.Unlock()
	if s, err := statefile.Load(path); err != nil || len(s.Overrides) != 1 {
		t.Errorf("%+v, %v: want the override", s, err)
	}

	r.monitor.Restore(health.Timelines{"p": {1: {Timeline: 2, Backend: "a"}}})
	r.stay()
	s, err := statefile.Load(path)
	if err != nil || !strings.Contains(string(s.Timelines), `"timeline": 2`) {
		t.Errorf("%s, %v: want the last timelines", s.Timelines, err)
	}
	if err := statefile.Save(path, statefile.State{Timelines: json.RawMessage(`{}`)}); err != nil { // by a successor
		t.Fatal(err)
	}
	r.monitor.Restore(health.Timelines{"p": {1: {Timeline: 3, Backend: "a"}}})
	r.applying.Lock()
	r.saveNews(0)
	r.applying.Unlock()
	if s, err := statefile.Load(path); err != nil || len(s.Overrides) != 0 {
		t.Errorf("%+v, %v: what a successor has written is gone", s, err)
	}
	if _, err := r.reload("test"); !errors.As(err, new(admin.Conflict)) && err != errLeaving {
		t.Errorf("a reload while leaving: %v", err)
	}
}

// TestStateThatCannotBeRead: what it holds is left as it is, for people to look at.
func TestStateThatCannotBeRead(t *testing.T) {
	r := newApplyRig(t, strings.Replace(applyText, "DIR/state.json", "DIR", 1)) // root cannot read a folder as a file either
	c, err := r.Override(t.Context(), "p", "a", map[string]string{overrides.State: "drain"}, admin.By{})
	if err != nil || len(c.Warnings) != 1 || !strings.Contains(c.Warnings[0], "could not be read at the start") {
		t.Errorf("%q, %v: want a warning", c.Warnings, err)
	}
}
