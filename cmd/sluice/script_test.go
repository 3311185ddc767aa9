package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be sluice when it is run under that name.
func TestMain(m *testing.M) {
	// A program built with the race detector would otherwise sleep for a second before it exits.
	os.Setenv("GORACE", "atexit_sleep_ms=0")
	testscript.Main(m, map[string]func(){"sluice": mainWithFaults})
}

// TestScript runs the real program as a process of its own. What it should do is in testdata/script; the commands that
// scripts have besides testscript's own are in this file, process_test.go (a sluice that runs) and peer_test.go
// (clients and backends).
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", os.Getenv("GORACE"))
			env.Values[worldKey{}] = &scriptWorld{processes: map[string]*process{}, peers: map[string]*peer{}}
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      cmdExits,
			"expand":     cmdExpand,
			"capture":    cmdCapture,
			"privileged": cmdPrivileged,

			"start":       cmdStart,
			"startplain":  cmdStartPlain,
			"background":  cmdBackground,
			"demo":        cmdDemo,
			"signal":      cmdSignal,
			"exited":      cmdExited,
			"logged":      cmdLogged,
			"get":         cmdGet,
			"call":        cmdCall,
			"metricnames": cmdMetricNames,
			"ask":         cmdAsk,

			"echoserver": cmdEchoServer,
			"deadport":   cmdDeadPort,
			"dial":       cmdDial,
			"send":       cmdSend,
			"expect":     cmdExpect,
			"closed":     cmdClosed,
			"hangup":     cmdHangup,
		},
	})
}

// patience bounds every wait of a script. It is long because machines that test are busy; nothing waits for it to pass.
const patience = time.Minute

// A scriptWorld is what the commands of one script share.
type scriptWorld struct {
	processes map[string]*process
	peers     map[string]*peer
}

type worldKey struct{}

func worldOf(ts *testscript.TestScript) *scriptWorld { return ts.Value(worldKey{}).(*scriptWorld) }

// eventually calls f until it returns nil, and fails the script or test with its last error when that does not happen.
func eventually(ts interface{ Fatalf(string, ...any) }, f func() error) {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v (after %v)", err, patience)
		}
	}
}

func usage(ts *testscript.TestScript, ok bool, text string) {
	if !ok {
		ts.Fatalf("usage: %s", text)
	}
}

// cmdExits runs a program to its end and checks its exit status.
func cmdExits(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "exits STATUS [unprivileged] PROGRAM ARGUMENT..., or exits STATUS nobody sluice ARGUMENT...")
	want, command := args[0], args[1:]
	if command[0] == "unprivileged" {
		command = withoutPrivileges(command[1:])
	}
	if command[0] == "nobody" {
		command = asNobody(ts, sluiceCommand(ts, command[2:]...))
	}
	err := ts.Exec(command[0], command[1:]...)
	got := "0"
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		got = fmt.Sprint(exit.ExitCode())
	} else if err != nil {
		ts.Fatalf("run %v: %v", command, err)
	}
	if got != want {
		ts.Fatalf("%v has exit status %s, want %s", command, got, want)
	}
}

// withoutPrivileges returns the command that runs command as an ordinary user would. Root keeps its name, so that it
// may still read the test's files, and loses all its capabilities.
func withoutPrivileges(command []string) []string {
	if os.Geteuid() != 0 {
		return command
	}
	return append([]string{"setpriv", "--inh-caps=-all", "--bounding-set=-all"}, command...)
}

// asNobody returns the command that runs a program as a user who may write nowhere. The folders that testscript has put
// the program into are opened for it.
func asNobody(ts *testscript.TestScript, command []string) []string {
	if os.Geteuid() != 0 {
		return command
	}
	program, err := filepath.EvalSymlinks(command[0])
	ts.Check(err)
	for dir := filepath.Dir(program); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		ts.Check(os.Chmod(dir, 0o711))
	}
	return append([]string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}, command...)
}

// cmdPrivileged puts a port that needs a privilege into a variable.
func cmdPrivileged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "privileged VARIABLE")
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_unprivileged_port_start")
	ts.Check(err)
	var start int
	_, err = fmt.Sscan(string(text), &start)
	ts.Check(err)
	if start < 2 {
		ts.Fatalf("this system has no privileged ports; give it some: sysctl net.ipv4.ip_unprivileged_port_start=1024")
	}
	ts.Setenv(args[0], fmt.Sprint(start-1))
}

// cmdExpand replaces $VARIABLES in files.
func cmdExpand(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) > 0, "expand FILE...")
	for _, file := range args {
		text := os.Expand(ts.ReadFile(file), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(file), []byte(text), 0o600))
	}
}

// cmdCapture puts what a group of a regular expression matches in the output of the last command into a variable.
func cmdCapture(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "capture VARIABLE REGEXP")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	output := ts.ReadFile("stdout")
	match := pattern.FindStringSubmatch(output)
	if len(match) != 2 {
		ts.Fatalf("%s captures nothing in\n%s", args[1], output)
	}
	ts.Setenv(args[0], match[1])
}

// TestScriptsAreRun guards against a script that testscript does not see, for the sake of its name.
func TestScriptsAreRun(t *testing.T) {
	entries, err := os.ReadDir("testdata/script")
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) < 10 || !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name() == "drain.txtar" }) {
		t.Errorf("only %d scripts", len(entries))
	}
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), ".txtar") {
			t.Errorf("%s is not a script", e.Name())
		}
	}
}
