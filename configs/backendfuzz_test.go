package configs

import (
	"errors"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sluice/pool"
	"sluice/pool/discovery"
)

// FuzzBackends holds every file of backends to the same promises: no panic; a list or problems, each in its place; every
// backend of a list can be one; what is read as JSON is the same as YAML.
func FuzzBackends(f *testing.F) {
	paths, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(paths) == 0 {
		f.Fatalf("no seeds: %v", err)
	}
	for _, path := range paths {
		if _, list, ok := strings.Cut(string(readSeed(f, path)), "backends:"); ok {
			f.Add([]byte("backends:" + list))
		}
	}
	for _, seed := range []string{
		"- 10.0.0.1:80\n- {name: b, address: db.internal:80, weight: 0, max_conns: 5, backup: true, state: drain}\n", "[]", "backends: []",
		`[{"state": "drain", "backup": false, "max_conns": 5, "weight": 0, "address": "[2001:db8::1]:80", "name": "b"}, "unix:/x"]`,
		"{\n\t\"backends\": [\n\t\t\"10.0.0.1:80\"\n\t]\n}\n", "- &a 10.0.0.1:80\n- {<<: {weight: 1}, address: *a}",
		"/\r\r0", "\".a\\nb:80\"", "http://a\r\rb:80",
	} {
		f.Add([]byte(seed))
	}
	for _, h := range hostile {
		f.Add(repeatTo(1<<10, h.before, h.repeated))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		found, err := ParseBackends("f.yaml", data)
		if err != nil {
			if found != nil {
				t.Error("a list and an error")
			}
			checkPositions(t, untabbed(data), err)
			return
		}
		checkFound(t, found)
		inJSON, ok := jsonBackends(data)
		if !ok {
			return
		}
		d := newDecoder(newSource("f.yaml", untabbed(data)))
		if inYAML := d.backendList(); len(d.problems) > 0 || !reflect.DeepEqual(inJSON, inYAML) {
			t.Errorf("JSON %+v, YAML %+v, problems %v", inJSON, inYAML, d.problems)
		}
	})
}

func readSeed(f *testing.F, path string) []byte {
	data, err := readFile(path, maxFileSize)
	if err != nil {
		f.Fatal(err)
	}
	return data
}

// checkFound holds a list to what discovery.Found promises.
func checkFound(t *testing.T, found []discovery.Found) {
	t.Helper()
	if found == nil {
		t.Error("neither a list nor an error")
	}
	names := make(map[string]bool)
	for _, f := range found {
		name := f.Name
		if name == "" {
			name = f.Address.WithHost(f.Host)
		} else if checkName(name) != nil || names[name] {
			t.Errorf("name of %+v", f)
		}
		names[f.Name] = true
		a := f.Address
		whole := a.IsUnix() && len(a.Unix) <= pool.MaxUnixPath || a.TCP.IsValid() && a.TCP.Port() != 0
		byName := f.Host != "" && checkHostName(f.Host) == nil && a.TCP.Port() != 0 && !a.TCP.Addr().IsValid() && !a.IsUnix()
		if whole == byName || whole && f.Host != "" || name == "" {
			t.Errorf("address of %+v", f)
		}
		s := f.Settings
		if s.Weight != nil && (*s.Weight < 0 || *s.Weight > pool.MaxWeight) || s.MaxConns != nil && *s.MaxConns < 0 {
			t.Errorf("settings of %+v", f)
		}
	}
}

// TestFirstOf: problems on one line are still all of them.
func TestFirstOf(t *testing.T) {
	var problems Problems
	err := error(firstOf{Problems{{File: "a", Line: 1, Column: 2, Message: "x"}, {File: "a", Message: "y"}, {File: "a", Message: "z"}}})
	if !errors.As(err, &problems) || len(problems) != 3 || err.Error() != "a:1:2: x; 2 more problems" {
		t.Errorf("%v: %v", err, problems)
	}
}
