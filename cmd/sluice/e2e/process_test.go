package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// tempDir returns a new directory that other users can enter, unlike the one of testing.T: postgres refuses to be root.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "sluice-e2e-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// readLines returns the lines of a file that somebody may be writing. The last one counts when it is complete.
func readLines(t *testing.T, path string) []string {
	t.Helper()
	lines := strings.Split(readFile(t, path), "\n")
	return lines[:len(lines)-1]
}

// A process is a program that runs beside the test. It ends with the test, and also when the test is killed.
type process struct {
	t      *testing.T
	name   string
	log    string // path of its output
	cmd    *exec.Cmd
	ending syscall.Signal // asks it to end; 0 = SIGTERM
	ended  chan struct{}  // closed when it has; err is how
	err    error
}

// start runs cmd, whose output goes to dir/name.log. It is stopped when the test is over.
func start(t *testing.T, name, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, name: name, log: filepath.Join(dir, name+".log"), cmd: cmd, ended: make(chan struct{})}
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close() // the process has its own
	cmd.Stdout, cmd.Stderr = out, out
	dieWithTest(cmd, syscall.SIGKILL)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", name, err)
	}
	go func() {
		p.err = cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("the last output of %s:\n%s", name, tail(readFile(t, p.log)))
		}
	})
	return p
}

// dieWithTest makes the kernel send a signal to cmd when its parent dies. (Strictly when the parent's thread does. Go
// ends a thread only with a goroutine that is locked to it, and there is none here.)
func dieWithTest(cmd *exec.Cmd, signal syscall.Signal) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	if cmd.SysProcAttr.Pdeathsig == 0 {
		cmd.SysProcAttr.Pdeathsig = signal
	}
}

func tail(text string) string {
	const most = 8 << 10
	if len(text) > most {
		text = "..." + text[len(text)-most:]
	}
	return text
}

func (p *process) running() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// signal sends s to a process that has not ended.
func (p *process) signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("send %v to %s: %v", s, p.name, err)
	}
}

// wait waits for the process to end by itself and returns how it did.
func (p *process) wait() error {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.err
	case <-time.After(patient):
		p.t.Fatalf("%s has not ended in %v", p.name, patient)
		return nil
	}
}

// kill ends the process as a crash would.
func (p *process) kill() {
	p.t.Helper()
	p.signal(syscall.SIGKILL)
	p.wait()
}

// stop ends the process if it still runs.
func (p *process) stop() {
	if !p.running() {
		return
	}
	ending := p.ending
	if ending == 0 {
		ending = syscall.SIGTERM
	}
	_ = p.cmd.Process.Signal(ending) // it may have ended just now
	select {
	case <-p.ended:
	case <-time.After(patient):
		p.t.Errorf("%s has not ended %v after %v", p.name, patient, ending)
		_ = p.cmd.Process.Kill()
		<-p.ended
	}
}

// untilListening waits until the process accepts on a port of 127.0.0.1. It does not connect to find out, so that
// nobody counts a connection that is not of the test.
func (p *process) untilListening(port int) {
	p.t.Helper()
	until(p.t, fmt.Sprintf("%s listens on port %d", p.name, port), func() error {
		if !p.running() {
			p.t.Fatalf("%s has ended: %v\n%s", p.name, p.err, tail(readFile(p.t, p.log)))
		}
		if !systest.Listening(p.t, port) {
			return errors.New("nobody listens there")
		}
		return nil
	})
}

// command returns a command that ends by itself, soon.
func command(t *testing.T, path string, args ...string) *exec.Cmd {
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.WaitDelay = patient
	dieWithTest(cmd, syscall.SIGKILL)
	return cmd
}

// output runs a command that must succeed and returns what it prints.
func output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, complaint(err))
	}
	return string(out)
}

// complaint returns what a command wrote to standard error.
func complaint(err error) string {
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(exit.Stderr)
	}
	return ""
}
