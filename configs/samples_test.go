package configs

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"sluice/l4"
)

func TestSamplesLoad(t *testing.T) {
	for _, name := range append(Samples(), "") {
		data, ok := Sample(name)
		if !ok {
			t.Fatalf("no sample %q", name)
		}
		if _, err := parse(name+".yaml", data, noLookup); err != nil {
			t.Errorf("sample %q:\n%v", name, err)
		}
	}
	if _, ok := Sample("../configs/full"); ok {
		t.Error("a name that is no sample gave a file")
	}
}

// TestSampleByNameLoads takes out the # before the listener that the sample postgres shows in a comment.
func TestSampleByNameLoads(t *testing.T) {
	data, _ := Sample("postgres")
	head, rest, found := strings.Cut(string(data), "  # postgres-by-name:")
	if !found {
		t.Fatal("the sample has no such listener")
	}
	shown, tail, _ := strings.Cut(rest, "\n\n")
	shown = strings.ReplaceAll(shown, "\n  # ", "\n  ")
	file, err := parse("postgres.yaml", []byte(head+"  postgres-by-name:"+shown+"\n\n"+tail), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	if l := file.Listeners[2]; l.Name != "postgres-by-name" || len(l.Routes) != 2 || l.Pool != "primary" {
		t.Errorf("got %+v", l)
	}
}

// namesFile matches the keys that name a file which is read with the configuration.
var namesFile = regexp.MustCompile(`(_file|\.file|\.check\.cert|\.check\.key)$`)

// TestFullSampleHasEveryKey keeps full.yaml and the schema together in both directions: the decoder refuses what the
// schema lacks, so what is left to check is what the sample lacks.
func TestFullSampleHasEveryKey(t *testing.T) {
	data, _ := Sample("full")
	lines := strings.Split(string(data), "\n")
	seen := make(map[string]int)
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		t.Fatal(err)
	}
	keyPaths(file.Docs[0].Body, "", seen)

	supported := fileFields.supported()
	if len(supported) < 40 {
		t.Errorf("the schema lists only %d keys: %v", len(supported), supported)
	}
	commented := regexp.MustCompile(`\S.*#\s*\S`)
	for _, path := range supported {
		line := seen[path]
		if namesFile.MatchString(path) { // the file would have to be there
			key := path[strings.LastIndex(path, ".")+1:]
			if !regexp.MustCompile(`# (- )?` + key + `: `).Match(data) {
				t.Errorf("full.yaml does not show %s in a comment", path)
			}
			continue
		}
		if line == 0 {
			t.Errorf("full.yaml does not set %s", path)
			continue
		}
		// A key that only opens a mapping explains itself through the keys below.
		opens := slices.ContainsFunc(supported, func(p string) bool { return strings.HasPrefix(p, path+".") })
		if !opens && !commented.MatchString(lines[line-1]) {
			t.Errorf("full.yaml line %d: no comment for %s", line, path)
		}
	}
}

// TestFullSampleShowsDefaults keeps the first pool and the listener of full.yaml at what a file has that says nothing.
func TestFullSampleShowsDefaults(t *testing.T) {
	data, _ := Sample("full")
	file, err := parse("full.yaml", data, noLookup)
	if err != nil {
		t.Fatal(err)
	}
	l, p := file.Listeners[0], file.Pools[0]
	l.Bind, l.Pool, l.AcceptProxy, l.Socket = nil, "", nil, l4.SocketFile{} // these have no default
	p.Config.Backends, file.Admin.Hosts, file.Admin.Allow = nil, nil, nil
	if file.Admin.SocketFile.Mode != 0o600 {
		t.Errorf("the control socket has mode %v, want what it has without one", file.Admin.SocketFile.Mode)
	}
	file.Admin.SocketFile = l4.SocketFile{}
	if want := defaultListener("web"); !equal(l, want) {
		t.Errorf("listener:\ngot  %+v\nwant %+v", l, want)
	}
	if want := defaultPool("web"); !equal(p, want) {
		t.Errorf("pool:\ngot  %+v\nwant %+v", p, want)
	}
	f := defaultFile()
	if file.Loops != f.Loops || !equal(file.Admin, f.Admin) || file.Log != f.Log || file.Shutdown != f.Shutdown ||
		file.Upgrade != f.Upgrade {
		t.Errorf("got %+v, want %+v", file, f)
	}
}

// keyPaths notes the line of every key of a document under its path in the schema, where names and list elements do not
// count.
func keyPaths(n ast.Node, path string, lines map[string]int) {
	switch n := n.(type) {
	case *ast.SequenceNode:
		for _, v := range n.Values {
			keyPaths(v, path, lines)
		}
	case *ast.MappingNode:
		for _, v := range n.Values {
			below := strings.TrimPrefix(path+"."+v.Key.String(), ".")
			lines[below] = v.Key.GetToken().Position.Line
			if below != "listeners" && below != "pools" {
				keyPaths(v.Value, below, lines)
				continue
			}
			for _, named := range v.Value.(*ast.MappingNode).Values {
				keyPaths(named.Value, below, lines)
			}
		}
	}
}
