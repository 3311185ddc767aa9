package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
)

// sluiceProgram is the sluice under test.
var sluiceProgram string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

// run builds sluice once for all tests. Its exit status is that of the tests.
func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "sluice-e2e-build-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	sluiceProgram = filepath.Join(dir, "sluice")
	if out, err := exec.Command("go", "build", "-o", sluiceProgram, "sluice/cmd/sluice").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// packages says what to install for a program.
var packages = map[string]string{
	"curl":     "curl",
	"dovecot":  "dovecot-imapd",
	"etcd":     "etcd-server",
	"haproxy":  "haproxy",
	"initdb":   "postgresql",
	"mariadb":  "mariadb-server",
	"mariadbd": "mariadb-server",

	"mariadb-install-db": "mariadb-server",
	"nginx":              "nginx",
	"openssl":            "openssl",
	"patroni":            "patroni",
	"pg_basebackup":      "postgresql",
	"pg_isready":         "postgresql",
	"pg_rewind":          "postgresql",
	"pgbench":            "postgresql",
	"postgres":           "postgresql",
	"psql":               "postgresql",

	"chromium-headless-shell": "chromium-headless-shell",
}

// program returns the path of a program. Some are in places that are not on everybody's PATH.
func program(t *testing.T, name string) string {
	t.Helper()
	if path, err := exec.LookPath(name); err == nil && packages[name] != "postgresql" {
		return path
	}
	found, _ := filepath.Glob("/usr/sbin/" + name) // fails only for a pattern that is malformed
	if packages[name] == "postgresql" {
		// Not the wrappers on the PATH, which look for the clusters of the machine.
		found, _ = filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	}
	if len(found) == 0 {
		t.Fatalf("this test needs the program %s, which is not installed: apt-get install %s", name, packages[name])
	}
	return slices.Max(found)
}
