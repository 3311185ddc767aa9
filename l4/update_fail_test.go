package l4

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/l4/clients"
	"sluice/pool"
	"sluice/sysutil/systest"
)

// Prepare leaves nothing behind when it fails, says what is wrong, and nothing has changed.
// So it is when what it has prepared is given up.
func TestPrepareFails(t *testing.T) {
	taken := listenTCP(t, "127.0.0.1:0")
	dir := t.TempDir()
	r := newRig(t, rigConfig{bind: []pool.Address{freePorts(t, 1)[0], {Unix: filepath.Join(dir, "here")}}})
	ends := r.pair()
	was := r.srv.listeners()[0].rules.Load().config
	bound := func(name string, bind ...pool.Address) ListenerConfig {
		return ListenerConfig{Name: name, Target: was.Target, Bind: bind}
	}
	everywhere := pool.Address{TCP: netip.AddrPortFrom(netip.Addr{}, was.Bind[0].TCP.Port())}
	fresh := bound("fresh", anyPort, pool.Address{Unix: filepath.Join(dir, "fresh")})
	f := func(want string, listeners ...ListenerConfig) {
		t.Helper()
		before := systest.OpenFiles()
		p, err := r.srv.Prepare(Update{Listeners: listeners})
		if err == nil || !strings.Contains(err.Error(), want) || p != nil {
			t.Errorf("Prepare: %v, want an error with %q", err, want)
		}
		if left := systest.LeftFiles(before, patient); len(left) > 0 {
			t.Errorf("%s: descriptors left open: %v", want, left)
		}
		if names, _ := filepath.Glob(dir + "/*"); len(names) != 1 {
			t.Errorf("%s: socket files left: %v", want, names)
		}
		if r.srv.listeners()[0].rules.Load().config.Name != "test" || len(r.srv.doors()) != 2 {
			t.Errorf("%s: something has changed", want)
		}
	}
	f(`"bad": no address`, fresh, bound("bad"))
	f(`"bad": there are two of that name`, bound("bad", anyPort), bound("bad", anyPort))
	f("another process listens there", fresh, was, bound("bad", tcpAddress(taken.Addr())))
	f("listens at "+was.Bind[0].String()+` for listener "test": one of the two must go`, fresh, was, bound("bad", was.Bind[0]))
	f("listens at "+was.Bind[0].String()+` for listener "test": one of the two must go`, fresh, was, bound("bad", everywhere))
	f("listens at "+was.Bind[0].String()+` for listener "test": it is given up only when`, fresh, bound("bad", everywhere))
	f("listens at "+was.Bind[1].String()+` for listener "test": one of the two must go`, fresh, was,
		bound("bad", pool.Address{Unix: dir + "/../" + filepath.Base(dir) + "/here"}))
	f("no such file", fresh, bound("bad", pool.Address{Unix: filepath.Join(dir, "none", "socket")}))
	bad := bound("bad", anyPort)
	bad.PerClient = clients.Limits{Sessions: -1}
	f("sessions -1", fresh, bad)
	bad = bound("bad", anyPort)
	bad.Target.Pool = nil
	f("no pool", fresh, bad)

	before := systest.OpenFiles()
	p := must(r.srv.Prepare(Update{Listeners: []ListenerConfig{was, fresh}}))
	if _, err := os.Lstat(filepath.Join(dir, "fresh")); err != nil {
		t.Error(err)
	}
	p.Abandon()
	p.Abandon()
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
	r.exchange(ends[client], ends[server], 3)
	r.pair()
	if n := r.srv.Stats().Listeners[0].Accepts; n != 2 {
		t.Errorf("%d connections were accepted, want 2: nobody but the two clients has come", n)
	}
}
