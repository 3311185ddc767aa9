package main

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// goPackage is what the go command says of one package of this module.
type goPackage struct {
	ImportPath   string
	Imports      []string // of the code itself
	Deps         []string // of the code itself, all the way down
	TestImports  []string
	XTestImports []string
}

// root is the folder of the module.
const root = "../.."

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	command := exec.Command("go", "list", "-json=ImportPath,Imports,Deps,TestImports,XTestImports", "./...")
	command.Dir = root
	command.Stderr = os.Stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("read go list: %v", err)
		}
		all = append(all, p)
	}
}

// within reports whether a package is dir or below it.
func within(path string, dirs ...string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool { return path == dir || strings.HasPrefix(path, dir+"/") })
}

// TestImports holds the picture of the packages in DESIGN.md, section 4.
func TestImports(t *testing.T) {
	const (
		unix = "golang.org/x/sys/unix"
		http = "net/http"
		// systest is for the tests of every package: what they ask of the kernel.
		systest = "sluice/sysutil/systest"
		handoff = "sluice/sysutil/handoff"
		// discovery is for those who put a pool together; the pool itself is told.
		discovery = "sluice/pool/discovery"
	)
	// mayImport is what of ours a package may import besides what is below itself.
	mayImport := map[string][]string{
		"sluice/sysutil": {},
		systest:          {},
		handoff:          {"sluice/sysutil"},
		"sluice/pool":    {},
		// Each source is a package of its own below this one.
		discovery:   {"sluice/pool"},
		"sluice/l4": {"sluice/pool", "sluice/sysutil"},
		// They know no session, so neither l4 nor the kernel.
		"sluice/l4/clients":     {},
		"sluice/l4/proxyheader": {},
		"sluice/l4/route":       {"sluice/l4/tlshello"},
		"sluice/l4/tlshello":    {},
		"sluice/l4/pgwire":      {"sluice/l4/tlshello"},
		"sluice/health":         {"sluice/pool"},
		"sluice/configs":        {"sluice/l4", "sluice/health", "sluice/pool"},
		"sluice/bench":          {"sluice/sysutil"},
		"sluice/cmd":            {"sluice/configs", "sluice/l4", "sluice/health", "sluice/pool", "sluice/sysutil"},
	}
	for _, p := range listPackages(t) {
		top := p.ImportPath // or the innermost that it is below and that has a rule
		for mayImport[top] == nil && strings.Contains(top, "/") {
			top = path.Dir(top)
		}
		allowed, known := mayImport[top]
		if !known {
			t.Errorf("%s: DESIGN.md has no such package", p.ImportPath)
		}
		tests := slices.Concat(p.TestImports, p.XTestImports)
		for _, i := range slices.Concat(p.Imports, tests) {
			if within(i, "sluice") && !within(i, top) && !within(i, allowed...) && i != systest {
				t.Errorf("%s imports %s: of ours, %s may import only %v", p.ImportPath, i, top, allowed)
			}
			if within(i, unix) && p.ImportPath != "sluice/sysutil" {
				t.Errorf("%s imports %s: only sysutil knows the kernel's types", p.ImportPath, i)
			}
			if i == handoff && !within(p.ImportPath, "sluice/cmd") {
				t.Errorf("%s imports %s: only the program speaks to another process", p.ImportPath, i)
			}
			if within(i, discovery) && !within(p.ImportPath, discovery, "sluice/configs", "sluice/cmd") {
				t.Errorf("%s imports %s: sessions and checks know pools, not where backends come from", p.ImportPath, i)
			}
			if within(i, discovery) && within(p.ImportPath, discovery) && i != discovery && !within(i, p.ImportPath) {
				t.Errorf("%s imports %s: sources do not know each other", p.ImportPath, i)
			}
		}
		for _, i := range p.Imports {
			if within(i, "sluice") && strings.HasSuffix(i, "test") && !strings.HasSuffix(p.ImportPath, "test") {
				t.Errorf("%s imports %s: only tests may", p.ImportPath, i)
			}
		}
		if within(top, "sluice/l4", "sluice/pool") && !within(top, discovery) && slices.Contains(p.Deps, http) {
			t.Errorf("%s depends on %s: the engine does not know HTTP", p.ImportPath, http)
		}
	}
}

// TestFolders holds the top level to what DESIGN.md names.
func TestFolders(t *testing.T) {
	allowed := []string{"bench", "cmd", "configs", "health", "l4", "pool", "sysutil"}
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatalf("%s is not the module's folder: %v", root, err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("folder %s: the top level has only %v", e.Name(), allowed)
		}
	}
}
