package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"
)

// sluiceProgram is the sluice under test.
var sluiceProgram string

// testsAtOnce is how many tests run at a time where there are fewer CPUs: they wait most of the time.
const testsAtOnce = 4

func TestMain(m *testing.M) {
	flag.Parse()
	if runtime.GOMAXPROCS(0) < testsAtOnce && !flagGiven("test.parallel") {
		if err := flag.Set("test.parallel", strconv.Itoa(testsAtOnce)); err != nil {
			panic(err)
		}
	}
	os.Exit(run(m))
}

// flagGiven reports whether a flag was given.
func flagGiven(name string) (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == name })
	return given
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
	if out, err := goCommand("build", "-o", sluiceProgram, "sluice/cmd/sluice").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build sluice: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// goCommand builds as releases are built, without C. What go vet has compiled for the same is used again.
func goCommand(args ...string) *exec.Cmd {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd
}

// packages says what to install for a program.
var packages = map[string]string{
	"curl":       "curl",
	"dovecot":    "dovecot-imapd",
	"etcd":       "etcd-server",
	"haproxy":    "haproxy",
	"initdb":     "postgresql",
	"keepalived": "keepalived",
	"mariadb":    "mariadb-server",
	"mariadbd":   "mariadb-server",

	"mariadb-install-db":      "mariadb-server",
	"nginx":                   "nginx",
	"openssl":                 "openssl",
	"patroni":                 "patroni",
	"pg_basebackup":           "postgresql",
	"pg_isready":              "postgresql",
	"pg_rewind":               "postgresql",
	"pgbench":                 "postgresql",
	"postgres":                "postgresql",
	"promtool":                "prometheus",
	"psql":                    "postgresql",
	"systemd-analyze":         "systemd",
	"systemd-socket-activate": "systemd",

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
