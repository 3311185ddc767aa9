package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// faultyProgram is a sluice in which something may go wrong at a point of an upgrade: the test binary of cmd/sluice.
var faultyProgram = sync.OnceValues(func() (string, error) {
	dir := filepath.Join(filepath.Dir(sluiceProgram), "faulty")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return "", err
	}
	program := filepath.Join(dir, "sluice") // the name by which the test binary is sluice
	if out, err := goCommand("test", "-c", "-o", program, "sluice/cmd/sluice").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the test binary of cmd/sluice: %w\n%s", err, out)
	}
	return program, nil
})

// A faulty is a sluice of which upgrades go wrong.
type faulty struct {
	*upgradable
	fault string // path of the file that says where and how
	late  *lateAnswers
}

func startFaulty(t *testing.T) *faulty {
	t.Helper()
	program, err := faultyProgram()
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{fault: filepath.Join(tempDir(t), "fault"), late: startLateAnswers(t)}
	// Two loops, so that there are two batches of sessions that relay, whatever the machine.
	f.upgradable = startUpgradableOf(t, program, "env", "GOMAXPROCS=2", "SLUICE_TEST_FAULT="+f.fault)
	f.gone = true // endAll ends it
	t.Cleanup(f.endAll)
	text := strings.Replace(readFile(t, f.config), `all: {bind: "127.0.0.1:0"`, `all: {bind: ["127.0.0.1:0", "unix:`+f.unix()+`"]`, 1)
	writeFile(t, f.config, text[:strings.LastIndex(text, "  late:")]+fmt.Sprintf(
		"  late: {check: {type: off}, backends: [{name: one, address: %q}]}\n", f.late.address))
	output(t, f.command("reload"))
	return f
}

// unix is where the listener all is, too.
func (f *faulty) unix() string { return filepath.Join(filepath.Dir(f.config), "all.sock") }

// processes returns those that serve, or have served, with the configuration of this test.
func (f *faulty) processes() (pids []int) {
	f.t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, path := range all {
		text, err := os.ReadFile(path)
		args := strings.Split(string(text), "\x00")
		if err != nil || !slices.Contains(args, f.config) || !slices.Contains(args, "run") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil {
			f.t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// endAll ends what is left. A process that serves ends well.
func (f *faulty) endAll() {
	for _, pid := range f.processes() {
		end := syscall.SIGTERM
		if f.t.Failed() {
			end = syscall.SIGKILL
		}
		_ = syscall.Kill(pid, end)
		until(f.t, "the last process ends", func() error { return ended(pid) })
	}
	if f.t.Failed() {
		return
	}
	for _, left := range []string{f.pidFile, f.few, f.unix(), f.socket} {
		if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
			f.t.Errorf("%s is left behind: %v", left, err)
		}
	}
}

// arm lets the next process that comes to a point fail there.
func (f *faulty) arm(c faultCase) {
	f.t.Helper()
	for _, old := range []string{".done", ".pid"} {
		if err := os.Remove(f.fault + old); err != nil && !errors.Is(err, fs.ErrNotExist) {
			f.t.Fatal(err)
		}
	}
	writeFile(f.t, f.fault+".new", c.String())
	if err := os.Rename(f.fault+".new", f.fault); err != nil {
		f.t.Fatal(err)
	}
}

// anUpgrade is one that is under way.
type anUpgrade struct {
	over chan struct{} // closed when the command has ended
	text []byte
	err  error
}

func (f *faulty) beginUpgrade() *anUpgrade {
	u, c := &anUpgrade{over: make(chan struct{})}, f.command("upgrade")
	go func() {
		u.text, u.err = c.CombinedOutput()
		close(u.over)
	}()
	return u
}

func (u *anUpgrade) isOver() bool {
	select {
	case <-u.over:
		return true
	default:
		return false
	}
}

// untilFault waits until it has happened, and returns to which process. It may be at a point behind the answer.
func (f *faulty) untilFault(u *anUpgrade) (pid int) {
	f.t.Helper()
	until(f.t, "it goes wrong", func() error {
		_, err := os.Stat(f.fault + ".done")
		if err != nil && u.isOver() { // before that its text is still written
			err = fmt.Errorf("%w; the upgrade is over: %s", err, u.text)
		}
		return err
	})
	pid, err := strconv.Atoi(readFile(f.t, f.fault+".pid"))
	if err != nil {
		f.t.Fatal(err)
	}
	return pid
}

// stopped reports that a process stands still.
func stopped(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err == nil && !strings.Contains(string(text), ") T ") {
		err = errors.New("it runs")
	}
	return err
}

// said returns the log, but for what a process says last of all, which is no JSON.
func (f *faulty) said() (lines []saidLine) {
	f.t.Helper()
	for _, text := range readLines(f.t, f.log) {
		var line saidLine
		if json.Unmarshal([]byte(text), &line) == nil {
			lines = append(lines, line)
		}
	}
	return lines
}

type saidLine struct {
	Msg      string
	Admin    string
	Sessions int
}

// adopted are the sessions that each process had that has taken over, by the log.
func (f *faulty) adopted() (list []int) {
	for _, line := range f.said() {
		if line.Msg == "upgrade: this process has taken over" {
			list = append(list, line.Sessions)
		}
	}
	return list
}

// serves checks that whoever comes is served, that the admin API answers, and that a reload works.
func (f *faulty) serves() {
	f.t.Helper()
	s := f.status()
	for _, l := range s.Listeners {
		if l.Name != "all" {
			continue
		}
		for _, address := range l.Addresses {
			network := "tcp"
			if path, ok := strings.CutPrefix(address, "unix:"); ok {
				network, address = "unix", path
			}
			c, err := net.Dial(network, address)
			if err == nil {
				_ = c.SetDeadline(time.Now().Add(patient))
				err = errors.Join(echo(c, "is anybody there"), c.Close())
			}
			if err != nil {
				f.t.Errorf("a client that comes to %s: %v", address, err)
			}
		}
	}
	for _, l := range f.said() { // one that has begun anew is at another port
		if l.Msg == "ready" {
			f.admin = l.Admin
		}
	}
	if code, text := f.get("/api/v1/status"); code != 200 {
		f.t.Errorf("the admin API at its TCP address: %d %s", code, text)
	}
	output(f.t, f.command("reload"))
}

// replaceDead starts sluice again when no process is left, as a service manager would.
func (f *faulty) replaceDead(old int) (replaced bool) {
	f.t.Helper()
	// Whoever follows may not know yet, but it runs. One that is about to end has no arguments any more.
	if len(f.processes()) > 0 || ended(old) != nil {
		return false
	}
	lines := len(f.said())
	program, err := faultyProgram()
	if err != nil {
		f.t.Fatal(err)
	}
	c := exec.Command(program, f.args...)
	c.Env = append(os.Environ(), "GOMAXPROCS=2", "SLUICE_TEST_FAULT="+f.fault)
	start(f.t, "sluice", filepath.Dir(f.log), c)
	until(f.t, "sluice is ready again", func() error {
		for _, l := range f.said()[lines:] {
			if l.Msg == "ready" {
				return nil
			}
		}
		return errors.New("its log does not say so")
	})
	return true
}
