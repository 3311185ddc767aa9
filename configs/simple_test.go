package configs

import (
	"strings"
	"testing"

	"sluice/pool"
)

func TestSimple(t *testing.T) {
	f := func(listen, backends []string, change func(*File)) {
		t.Helper()
		got, err := simple(listen, backends, testLookup)
		if err != nil {
			t.Errorf("%v %v:\n%v", listen, backends, err)
			return
		}
		want := minimalFile()
		want.Listeners[0].Name, want.Listeners[0].Pool, want.Pools[0].Config.Name = "default", "default", "default"
		change(want)
		if !equal(got, want) {
			t.Errorf("%v %v:\ngot  %+v\nwant %+v", listen, backends, got, want)
		}
	}
	f([]string{":8080"}, []string{"10.0.0.1:80"}, func(*File) {})
	if got, err := Simple([]string{":8080"}, []string{"10.0.0.1:80"}); err != nil || got.Pool("default") == nil || got.Pool("web") != nil {
		t.Errorf("got %+v, error %v", got, err)
	}
	f([]string{"127.0.0.1:0", "unix:/s"}, []string{"seven.example:80", "unix:/b"}, func(w *File) {
		w.Listeners[0].Bind = []pool.Address{tcp("127.0.0.1:0"), {Unix: "/s"}}
		w.Pools[0].Config.Backends = []pool.BackendConfig{
			{Name: "unix:/b", Address: pool.Address{Unix: "/b"}, Weight: 1},
		}
		w.Pools[0].Entries = []Entry{hostNamed("seven.example", 80)}
	})
}

func TestSimpleProblems(t *testing.T) {
	f := func(listen, backends []string, want string) {
		t.Helper()
		file, err := simple(listen, backends, testLookup)
		if file != nil || err == nil || err.Error() != strings.TrimSpace(want) {
			t.Errorf("%v %v:\ngot  %v\nwant %s", listen, backends, err, want)
		}
	}
	f(nil, nil, `
--listen: no address to listen on: write one, for example --listen :8080
--backend: no backend: write one, for example --backend 10.0.0.1:80`)
	f([]string{"8080", ":80", ":80", ":9600"}, []string{"10.0.0.1", ":80", "nowhere.example:1"}, `
--listen: "8080" is a port alone: write ":8080" for every address of this machine
--backend: "10.0.0.1" has no port: write 10.0.0.1:PORT
--backend: no host before the port: write HOST:PORT, for example 10.0.0.1:80
--listen: :80: taken by another --listen: use another address or port`)
	f([]string{"/run/web.sock"}, []string{"10.0.0.1:80"},
		`--listen: "/run/web.sock" is a path: write unix:/run/web.sock for a socket`)
	f([]string{"nowhere.example:80"}, []string{"nowhere.example:80"},
		`--listen: host name "nowhere.example" does not resolve: no such host`)
	f([]string{"127.0.0.1:80"}, []string{"127.0.0.1:80"}, "--backend: 127.0.0.1:80 is an address that this sluice listens on itself "+
		"(--listen), so every session would open another one: write the server's own address")
	f([]string{":80"}, []string{"10.0.0.1:80", "10.0.0.1:80"}, `--backend: duplicate backend "10.0.0.1:80"`)
}
