package main

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/sysutil"
)

const foundText = `
log: {level: error, sessions: "off"}
admin: {listen: "", socket: "DIR/control", state_file: "DIR/state.json"}
listeners: {l: {bind: "unix:DIR/l", pool: p}, own: {bind: "127.0.0.1:PORT", pool: p}}
pools:
  p:
    check: {type: "off"}
    remove_after: 1h
    discover: [{dns: app:80}, {file: DIR/list}]
    template: {weight: 3}
    backends: ["10.0.9.1:80", "db:80", "10.0.9.2:80"]
  other: {check: {type: "off"}, discover: {dns: app:81}}
`

// newFound returns a world of foundText.
func newFound(t *testing.T, old, by string) (*applyRig, *sources) {
	t.Helper()
	text := strings.Replace(foundText, "PORT", portOf(freeAddress(t)), 1)
	return newFoundRig(t, strings.Replace(text, old, by, 1))
}

// freeAddress returns an address of this machine at which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// TestFound: sources fill the places that they have in the configuration, what they have said holds while they are silent,
// and what is gone stays for a while.
func TestFound(t *testing.T) {
	r, s := newFound(t, "", "")
	r.until("no source has answered", "10.0.9.1:80 10.0.9.2:80")
	s.answers("dns db:80", "10.0.0.2:80", "10.0.0.1:80,w7")
	r.until("a host name has two addresses", "10.0.9.1:80 10.0.0.1:80,w7 10.0.0.2:80 10.0.9.2:80")
	s.answers("dns app:80", "10.0.1.1:80", "10.0.0.1:80", "10.0.1.2:80,backup")
	r.until("one of two is known", "10.0.9.1:80 10.0.0.1:80,w7 10.0.0.2:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3,backup")
	of := r.now.Load()
	for range 3 {
		s.answers("dns app:80", "10.0.1.2:80,backup", "10.0.1.1:80", "10.0.0.1:80", "10.0.1.1:80")
		r.applyFound(time.Now())
	}
	if r.now.Load() != of {
		t.Error("the same answer in another order has changed something")
	}
	s.source("dns app:80").say(discovery.Report{Err: errors.New("SERVFAIL")})
	s.answers("dns db:80")
	s.answers("dns app:81", "10.0.2.1:81") // to know that the others were taken
	r.untilOther("10.0.2.1:81")
	if got, want := r.backends(), "10.0.9.1:80 10.0.0.1:80,w7 10.0.0.2:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3,backup"; got != want {
		t.Errorf("an error and an empty answer: %s, want %s", got, want)
	}
	s.answers("dns app:80", "10.0.1.1:80")
	r.until("one is gone", "10.0.9.1:80 10.0.0.1:80,w7 10.0.0.2:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3,backup,vanished")
	r.applyFound(time.Now().Add(time.Hour))
	r.until("its time is over", "10.0.9.1:80 10.0.0.1:80,w7 10.0.0.2:80 10.0.9.2:80 10.0.1.1:80,w3")
	if g := r.now.Load(); g.number != 1 {
		t.Errorf("generation %d: answers are no configurations", g.number)
	}
}

// untilOther is until of the other pool.
func (r *applyRig) untilOther(want string) {
	r.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if all := r.now.Load().pool("other").Backends(); len(all) > 0 && all[0].Name() == want {
			return
		}
		if time.Now().After(deadline) {
			r.Fatal("no answer came in")
		}
	}
}

// TestFoundEmpty: where an empty answer is believed nobody is left.
func TestFoundEmpty(t *testing.T) {
	r, s := newFound(t, "remove_after: 1h", "remove_after: 0s\n    on_empty: empty")
	s.answers("dns app:80", "10.0.1.1:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3")
	s.answers("dns app:80")
	r.until("empty", "10.0.9.1:80 10.0.9.2:80")
}

// TestFoundBarred: what we listen on is no backend, whoever says so, and is left out alone.
func TestFoundBarred(t *testing.T) {
	r, s := newFound(t, "", "")
	own := r.now.Load().force.Listeners[1].Bind[0].String()
	s.answers("dns app:80", own, "10.0.1.1:80")
	r.until("one is ours", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3")
	if all := r.now.Load().found["p"].members.Problems(); len(all) != 1 || !strings.Contains(all[0].Problem, "listens on itself") {
		t.Errorf("problems %+v", all)
	}
}

// TestFoundHosts: a host name in a file is looked up as one in the configuration is.
func TestFoundHosts(t *testing.T) {
	r, s := newFound(t, "", "")
	list := "file " + filepath.Join(r.dir, "list")
	s.answers(list, "10.0.1.1:80", "web:80", "web:81,name=w,w9")
	s.answers("dns web:80", "10.0.1.2:80")
	s.answers("dns web:81", "10.0.1.3:81", "10.0.1.4:81")
	r.until("names in a file", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3 w/10.0.1.3:81=10.0.1.3:81,w9 w/10.0.1.4:81=10.0.1.4:81,w9")
	if _, err := r.Override(t.Context(), "p", "w", map[string]string{overrides.State: "drain"}, admin.By{}); err != nil {
		t.Fatal(err)
	}
	r.until("one is set", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3 w/10.0.1.3:81=10.0.1.3:81,w9,drain w/10.0.1.4:81=10.0.1.4:81,w9,drain")
	s.answers(list, "10.0.1.1:80")
	r.until("they are not in it any more", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3,vanished "+
		"w/10.0.1.3:81=10.0.1.3:81,w9,drain,vanished w/10.0.1.4:81=10.0.1.4:81,w9,drain,vanished")
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		web := s.source("dns web:80")
		web.mu.Lock()
		ended := web.ended
		web.mu.Unlock()
		if ended {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody has the name any more, and it is still asked for")
		}
	}
}

// TestFoundOverrides: what is set of an entry is set of all that is found for it, now and later; what is set of one of them
// is stronger.
func TestFoundOverrides(t *testing.T) {
	r, s := newFound(t, "", "")
	by := admin.By{User: "test"}
	set := func(backend, key, value string) {
		t.Helper()
		if _, err := r.Override(t.Context(), "p", backend, map[string]string{key: value}, by); err != nil {
			t.Fatal(err)
		}
	}
	set("db:80", overrides.State, "drain")
	set("db:80", overrides.Weight, "5")
	s.answers("dns db:80", "10.0.0.1:80,w7", "10.0.0.2:80")
	r.until("set before it was found", "10.0.9.1:80 10.0.0.1:80,w5,drain 10.0.0.2:80,w5,drain 10.0.9.2:80")
	set("10.0.0.2:80", overrides.State, "maint")
	_, err := r.Override(t.Context(), "p", "db", map[string]string{overrides.Weight: "1"}, by)
	if want := `no backend "db": there is db:80, 10.0.9.1:80, 10.0.0.1:80, `; !errors.As(err, new(admin.NotFound)) || !strings.Contains(err.Error(), want) {
		t.Errorf("a name that nobody has: %v", err)
	}
	r.until("one of them", "10.0.9.1:80 10.0.0.1:80,w5,drain 10.0.0.2:80,w5,maint 10.0.9.2:80")
	s.answers("dns db:80", "10.0.0.3:80", "10.0.0.2:80")
	r.until("another answer", "10.0.9.1:80 10.0.0.1:80,w5,drain,vanished 10.0.0.2:80,w5,maint 10.0.0.3:80,w5,drain 10.0.9.2:80")
	if _, err := r.RemoveBackend(t.Context(), "p", "db:80", by); err != nil {
		t.Fatal(err)
	}
	r.until("the entry is removed", "10.0.9.1:80 10.0.9.2:80")
	if _, err := r.Override(t.Context(), "p", "db:80", map[string]string{overrides.Weight: "1"}, by); !errors.As(err, new(admin.NotFound)) {
		t.Errorf("a removed entry is set: %v", err)
	} else if strings.Contains(err.Error(), "there is db:80") {
		t.Errorf("a removed entry is said to be there: %v", err)
	}
	for _, o := range r.Overrides() {
		if o.Key == overrides.Removed && (o.InFile != "dns db:80" || o.Dormant) {
			t.Errorf("%+v", o)
		}
	}
	if _, err := r.Unset(t.Context(), "p", "db:80", nil, by); err != nil {
		t.Fatal(err)
	}
	r.until("it is back", "10.0.9.1:80 10.0.0.2:80,maint 10.0.0.3:80 10.0.9.2:80")
}

// TestFoundReload: what has been found stays over a reload, and a source that is asked in another way begins with it.
func TestFoundReload(t *testing.T) {
	r, s := newFound(t, "", "")
	s.answers("dns app:80", "10.0.1.1:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3")
	r.change("weight: 3", "weight: 4")
	r.until("another template", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w4")
	r.change("dns: app:80", "dns: {name: app, port: 80, min_ttl: 2s}")
	r.until("asked in another way", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w4")
	r.change("{dns: {name: app, port: 80, min_ttl: 2s}}, ", "")
	r.until("not asked any more", "10.0.9.1:80 10.0.9.2:80")
}

// TestFoundServes: clients wait until a source has answered, and are served then.
func TestFoundServes(t *testing.T) {
	r, s := newFoundRig(t, `
log: {level: error, sessions: "off"}
admin: {listen: "", socket: "DIR/control"}
listeners: {l: {bind: "unix:DIR/l", pool: p}}
pools: {p: {discover: {dns: app:80}, queue: {timeout: 1m}}}
`)
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	c, err := net.Dial("unix", filepath.Join(r.dir, "l"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := r.now.Load().pool("p")
	for deadline := time.Now().Add(time.Minute); p.Waiting() == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the client does not wait")
		}
	}
	s.answers("dns app:80", server.Addr().String())
	conn, err := server.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, "hello"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if got, err := io.ReadAll(c); string(got) != "hello" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// TestFoundRestart: what sources have said outlives the process, and so do backends that are gone and their time.
func TestFoundRestart(t *testing.T) {
	r, s := newFound(t, "", "")
	s.answers("dns app:80", "10.0.1.1:80", "10.0.1.2:80")
	s.answers("dns db:80", "10.0.0.1:80,w7")
	const all = "10.0.9.1:80 10.0.0.1:80,w7 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3"
	r.until("found", all)
	s.answers("dns app:80", "10.0.1.2:80")
	const gone = "10.0.9.1:80 10.0.0.1:80,w7 10.0.9.2:80 10.0.1.1:80,w3,vanished 10.0.1.2:80,w3"
	r.until("one is gone", gone)
	leaves := r.now.Load().due()
	r.stay()

	text := strings.NewReplacer("DIR/control", "DIR/control2", "unix:DIR/l", "unix:DIR/l2", r.now.Load().force.Listeners[1].Bind[0].String(), freeAddress(t))
	r.text.Store(text.Replace(r.text.Load().(string)))
	file, err := r.parse()
	if err != nil {
		t.Fatal(err)
	}
	silent := new(sources)
	log, out := newLogger(io.Discard, file.Log)
	defer out.close()
	next, err := newWorld(file, log, out, bindAdvice{source: func(c configs.SourceConfig) discovery.Source { return silent.source(c.Key()) }})
	if err != nil {
		t.Fatal(err)
	}
	defer next.release()
	again := &applyRig{T: t, world: next}
	if got := again.backends(); got != gone {
		t.Errorf("after a restart: %s, want %s", got, gone)
	}
	if at := next.now.Load().due(); !at.Equal(leaves) {
		t.Errorf("it leaves at %v, want %v", at, leaves)
	}
}

// TestFoundBefore: the addresses that a process of version 1.0 has looked up are what the names stand for until they are
// asked for here.
func TestFoundBefore(t *testing.T) {
	at := func(name, host, address string) takeover.Address {
		return takeover.Address{Pool: "p", Backend: name, Host: host, Address: pool.Address{TCP: netip.MustParseAddrPort(address)}}
	}
	from := &takeOver{state: takeover.State{Addresses: []takeover.Address{
		at("db:80", "db", "10.0.0.1:80"), at("x", "db", "10.0.0.2:80"), at("y", "db", "10.0.0.1:81"),
	}}}
	var got []string
	for _, s := range from.answers() {
		for _, f := range s.Found {
			got = append(got, s.Source+" "+f.Address.String())
		}
	}
	want := []string{"dns db:80 10.0.0.1:80", "dns db:80 10.0.0.2:80", "dns db:81 10.0.0.1:81"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestFoundHandedOver: an answer that comes while a process hands over, and is not in force any more there, takes no backend
// from the other process before its time: sessions on it are yet to come.
func TestFoundHandedOver(t *testing.T) {
	r, s := newFound(t, "", "")
	s.answers("dns app:80", "10.0.1.1:80", "10.0.1.2:80")
	r.until("found", "10.0.9.1:80 10.0.9.2:80 10.0.1.1:80,w3 10.0.1.2:80,w3")
	if err := r.hold(); err != nil {
		t.Fatal(err)
	}
	defer r.unhold()
	s.answers("dns app:80", "10.0.1.2:80")
	state, files, err := r.state()
	sysutil.CloseFiles(files.own)
	if err != nil {
		t.Fatal(err)
	}
	if len(state.Answers) != 1 || len(state.Answers[0].Found) != 1 {
		t.Errorf("answers %+v", state.Answers)
	}
	if len(state.Vanished) != 1 || state.Vanished[0].Backend != "10.0.1.1:80" {
		t.Errorf("vanished: %+v, want the backend that is not in the answer", state.Vanished)
	}
}
