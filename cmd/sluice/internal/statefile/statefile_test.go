package statefile

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/overrides"
)

func TestSaveAndLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if s, err := Load(path); err != nil || !reflect.DeepEqual(s, State{}) {
		t.Errorf("without a file: %+v, %v", s, err)
	}
	want := []overrides.Setting{
		{Pool: "p", Backend: "a", Key: overrides.State, Value: "drain", Since: time.Unix(1e9, 0).UTC(), By: "root"},
		{Pool: "p", Backend: "b", Key: overrides.Added, Value: "10.0.0.1:80", Since: time.Unix(2e9, 0).UTC()},
	}
	for range 2 { // a file that is there is replaced
		if err := Save(path, State{Overrides: want, Timelines: []byte(`{"p":3}`)}); err != nil {
			t.Fatal(err)
		}
	}
	s, err := Load(path)
	if err != nil || !reflect.DeepEqual(s.Overrides, want) || !strings.Contains(string(s.Timelines), `"p": 3`) || s.Written.IsZero() {
		t.Errorf("%+v, %v", s, err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	only(t, path, "state.json")
}

// only checks which files there are beside a path, each by how its name begins.
func only(t *testing.T, path string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != len(want) {
		t.Fatalf("%v, %v: want %v", entries, err, want)
	}
	for i, e := range entries {
		if !strings.HasPrefix(e.Name(), want[i]) {
			t.Errorf("file %s, want %s", e.Name(), want[i])
		}
	}
}

// TestBroken: a file that cannot be understood is put aside whole, and named.
func TestBroken(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		path := filepath.Join(t.TempDir(), "state.json")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "put aside as "+path+".broken-") {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
		if !reflect.DeepEqual(s, State{}) {
			t.Errorf("%q: %+v", text, s)
		}
		only(t, path, "state.json.broken-")
	}
	f("", "EOF")
	f("{", "unexpected EOF")
	f(`{"version": 2}`, "version 2")
	f(`{"version": 1, "color": "red"}`, "color")
	f(`{"version": 1} {}`, "more after the end")
	f(`{"version": 1, "overrides": [{"pool": "p", "backend": "b", "key": "weight", "value": "x"}]}`, "override of p/b: weight")
}

// TestSaveFails: what was there stays, and nothing is left behind.
func TestSaveFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state.json")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(path, "x"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Save(path, State{}); err == nil {
		t.Error("a folder was replaced")
	}
	only(t, path, "state.json")
	if err := Save(filepath.Join(t.TempDir(), "nowhere", "state.json"), State{}); err == nil {
		t.Error("no error")
	}
}
