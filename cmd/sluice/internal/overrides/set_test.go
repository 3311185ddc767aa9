package overrides

import (
	"fmt"
	"strings"
	"testing"

	"sluice/configs"
)

func set(pool, backend, key, value string) Setting {
	return Setting{Pool: pool, Backend: backend, Key: key, Value: value}
}

func parse(t *testing.T, backends string) *configs.File {
	t.Helper()
	file, err := configs.Parse("t.yaml", []byte(`
listeners: {l: {bind: "127.0.0.1:8080", pool: p}}
pools:
  other: {backends: [10.0.9.9:80]}
  p: {backends: [`+backends+`]}
`))
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// describe lists the backends of both pools.
func describe(file *configs.File) string {
	var all []string
	for _, p := range file.Pools {
		for _, b := range p.Config.Backends {
			all = append(all, fmt.Sprintf("%s/%s=%s %v w%d m%d b%v", p.Config.Name, b.Name, b.Address, b.State, b.Weight, b.MaxConns, b.Backup))
		}
	}
	return strings.Join(all, "\n")
}

func noEntries(string, string) string { return "" }

func TestApply(t *testing.T) {
	file := parse(t, `{name: a, address: "10.0.0.1:80"}, {name: b, address: "10.0.0.2:80", weight: 7}`)
	written := describe(file)
	f := func(s Set, want string) {
		t.Helper()
		if got := describe(s.Apply(file, noEntries)); got != strings.TrimLeft(want, "\n") {
			t.Errorf("got\n%s\nwant%s", got, want)
		}
		if describe(file) != written {
			t.Fatal("what was written has changed")
		}
	}
	var s Set
	f(s, `
other/10.0.9.9:80=10.0.9.9:80 ready w1 m0 bfalse
p/a=10.0.0.1:80 ready w1 m0 bfalse
p/b=10.0.0.2:80 ready w7 m0 bfalse`)
	s = s.With(set("p", "b", Weight, "3"), set("p", "b", State, "maint"), set("p", "a", MaxConns, "9"), set("p", "a", Removed, "true"),
		set("p", "new", Weight, "2"), set("p", "new", Added, "10.0.0.3:81"), set("p", "new", Backup, "1"),
		set("nobody", "a", Weight, "2"), set("p", "nobody", Weight, "2"))
	f(s, `
other/10.0.9.9:80=10.0.9.9:80 ready w1 m0 bfalse
p/b=10.0.0.2:80 maint w3 m0 bfalse
p/new=10.0.0.3:81 ready w2 m0 btrue`)
	less := s.Without(func(s Setting) bool { return s.Key == Removed || s.Key == State })
	f(less.With(set("p", "b", Weight, "4")), `
other/10.0.9.9:80=10.0.9.9:80 ready w1 m0 bfalse
p/a=10.0.0.1:80 ready w1 m9 bfalse
p/b=10.0.0.2:80 ready w4 m0 bfalse
p/new=10.0.0.3:81 ready w2 m0 btrue`)
	if got, ok := s.Get("p", "b", Weight); !ok || got.Value != "3" {
		t.Errorf("%+v", got)
	}
	if _, ok := less.Get("p", "b", State); ok {
		t.Error("it was taken out")
	}
}

// TestHiding: an override hides what the file changes, and not what it leaves, or changes to the same.
func TestHiding(t *testing.T) {
	s := Set{}.With(set("p", "a", Weight, "3"), set("p", "a", State, "drain"), set("p", "b", Weight, "2"), set("p", "x", Added, "10.0.0.9:80"))
	from := parse(t, `{name: a, address: "10.0.0.1:80"}, {name: b, address: "10.0.0.2:80"}`)
	f := func(backends, want string) {
		t.Helper()
		var got []string
		for _, one := range s.Hiding(from, parse(t, backends)) {
			got = append(got, one.Backend+" "+one.Key)
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: got %v, want %s", backends, got, want)
		}
	}
	f(`{name: a, address: "10.0.0.1:80"}, {name: b, address: "10.0.0.2:80"}`, "")
	f(`{name: a, address: "10.0.0.1:80", weight: 5}, {name: b, address: "10.0.0.2:80", weight: 2}`, "a weight")
	f(`{name: a, address: "10.0.0.1:80", weight: 3, state: maint}, {name: b, address: "10.0.0.2:80"}`, "a state")
	f(`{name: b, address: "10.0.0.2:80"}`, "")
	f(`{name: a, address: "10.0.0.1:80"}, {name: x, address: "10.0.0.8:80"}`, "x added")
}

func TestCheck(t *testing.T) {
	f := func(key, value, want string) {
		t.Helper()
		err := Setting{Key: key, Value: value}.Check()
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s=%s: %v, want %q", key, value, err, want)
		}
	}
	for _, state := range []string{"ready", "drain", "maint"} {
		f(State, state, "")
	}
	f(State, "down", "down")
	f(Weight, "0", "")
	f(Weight, "256", "")
	f(Weight, "257", "want a whole number from 0 to 256")
	f(Weight, "", "want a whole number from 0 to 256")
	f(MaxConns, "100000", "")
	f(MaxConns, "-1", "want a whole number, 0 or more")
	f(Backup, "true", "")
	f(Backup, "maybe", "want true or false")
	f(Removed, "true", "")
	f(Removed, "false", "want true")
	f(Added, "10.0.0.1:80", "")
	f(Added, "unix:/run/app.sock", "")
	f(Added, "name:80", "not an IP address")
	f(Added, "10.0.0.1", "has no port")
	f("color", "red", "unknown key")
}
