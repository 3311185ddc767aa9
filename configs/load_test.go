package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sluice.yaml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f := func(what, path, want string) {
		t.Helper()
		if file, err := Load(path); file != nil || err == nil || err.Error() != want {
			t.Errorf("%s:\ngot  %v\nwant %s", what, err, want)
		}
	}
	write(minimalText)
	if got, err := Load(path); err != nil || !equal(got, minimalFile()) {
		t.Errorf("got %+v, error %v", got, err)
	}
	write(strings.Replace(minimalText, "10.0.0.1:80", "localhost:80", 1))
	got, err := Load(path)
	if err != nil {
		t.Fatal(err)
	}
	if p := got.Pools[0]; len(p.Config.Backends) > 0 || len(p.Entries) != 1 || p.Entries[0].Source.Key() != "dns localhost:80" {
		t.Errorf("localhost:80 is %+v", p)
	}

	f("no file", path+".old", path+".old: read file: no such file or directory")
	empty := t.TempDir()
	f("an empty folder", empty, empty+": no *.yaml and no *.yml in this folder")
	write(minimalText + "loops: -1\n")
	f("a problem", path, path+":9:8: loops is -1: write a whole number from 0 to 1024\n  loops: -1\n         ^")
	write(minimalText + strings.Repeat("# much\n", maxFileSize/7))
	f("a huge file", path, path+": the file is larger than 1 MiB: this is not a configuration of sluice")
	write(minimalText + strings.Repeat("#\n", (maxFileSize-len(minimalText))/2))
	if _, err := Load(path); err != nil {
		t.Errorf("a file of the greatest size: %v", err)
	}
}
