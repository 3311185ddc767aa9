package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// An upgradable is a sluice of which one process follows the other.
type upgradable struct {
	*rig
	args    []string // by which each is started
	few     string   // path of the listener with few places
	pidFile string
	answers chan struct{} // closed: the server of the pool late answers
	gone    bool          // no process is left
	program string        // what the first process runs; "" = sluiceProgram
}

// startUpgradable runs sluice, by a command that ends in becoming it if there is one.
func startUpgradable(t *testing.T, by ...string) *upgradable {
	t.Helper()
	return startUpgradableOf(t, sluiceProgram, by...)
}

// startUpgradableOf is startUpgradable with another program.
func startUpgradableOf(t *testing.T, program string, by ...string) *upgradable {
	t.Helper()
	dir, e := tempDir(t), startCountedEcho(t)
	u := &upgradable{
		few: filepath.Join(dir, "few.sock"), pidFile: filepath.Join(dir, "pid"), answers: make(chan struct{}), program: program,
	}
	late := startLateServer(t, u.answers)
	u.run(t, dir, fmt.Sprintf(upgradeConfig, u.few, e.address(), late), by...)
	return u
}

// run starts the first process.
func (u *upgradable) run(t *testing.T, dir, config string, by ...string) {
	t.Helper()
	file, socket := filepath.Join(dir, "sluice.yaml"), filepath.Join(dir, "sluice.sock")
	writeFile(t, file, config)
	u.args = []string{"run", "-c", file, "--admin", "127.0.0.1:0", "--socket", socket, "--pid-file", u.pidFile}
	args := slices.Concat(by, []string{cmp.Or(u.program, sluiceProgram)}, u.args)
	u.rig = &rig{process: start(t, "sluice", dir, exec.Command(args[0], args[1:]...)), socket: socket, config: file, changing: true, mayLog: "upgrade failed"}
	until(t, "sluice is ready", func() error {
		for _, l := range u.logLines() {
			if l.Msg == "ready" {
				u.admin = l.Admin
				return nil
			}
		}
		return errors.New("its log does not say so")
	})
	u.gone = false
	t.Cleanup(u.end)
}

// end ends the process that serves last, which is not a child of the test.
func (u *upgradable) end() {
	if u.gone {
		return
	}
	text, err := os.ReadFile(u.pidFile)
	if err != nil {
		u.t.Errorf("nobody is left: %v", err)
		return
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		u.t.Error(err)
		return
	}
	if u.t.Failed() {
		if pid != 1 { // else it is one of another namespace, and the test has ended it
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		return
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		u.t.Errorf("end process %d: %v", pid, err)
	}
	until(u.t, "the last process ends", func() error { return ended(pid) })
	u.gone = true
	u.expectNothingLeft()
	if !u.running() && u.err != nil {
		u.t.Errorf("the first process ended with %v, want exit status 0", u.err)
	}
}

// expectNothingLeft checks that the last process has removed its files.
func (u *upgradable) expectNothingLeft() {
	u.t.Helper()
	for _, left := range []string{u.pidFile, u.few, u.socket} {
		if _, err := os.Lstat(left); !errors.Is(err, os.ErrNotExist) {
			u.t.Errorf("%s is left behind: %v", left, err)
		}
	}
}

// ended reports that a process runs no more: who has ended and was not waited for does not.
func ended(pid int) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	if i := strings.LastIndexByte(string(text), ')'); i > 0 && strings.HasPrefix(string(text[i+1:]), " Z") {
		return nil
	}
	return fmt.Errorf("process %d runs", pid)
}

func (u *upgradable) command(name string, args ...string) *exec.Cmd {
	return command(u.t, sluiceProgram, append([]string{name, "--socket", u.socket}, args...)...)
}

// pid is the process that serves.
func (u *upgradable) pid() int { return u.status().PID }

func (u *upgradable) pidInFile() int {
	u.t.Helper()
	pid, err := strconv.Atoi(strings.TrimSpace(readFile(u.t, u.pidFile)))
	if err != nil {
		u.t.Fatal(err)
	}
	return pid
}

// upgrades makes one upgrade that must succeed.
func (u *upgradable) upgrades() {
	u.t.Helper()
	was := u.pid()
	text := output(u.t, u.command("upgrade"))
	if !strings.Contains(text, "went over") {
		u.t.Errorf("sluice upgrade says %s", text)
	}
	u.untilFollowed(was)
}

// untilFollowed waits until another process serves and the one before has ended.
func (u *upgradable) untilFollowed(was int) {
	u.t.Helper()
	until(u.t, "another process serves", func() error {
		if err := ended(was); err != nil {
			return err
		}
		if now := u.pid(); now == was || u.pidInFile() != now {
			return fmt.Errorf("process %d serves, and %d is in the file", now, u.pidInFile())
		}
		return nil
	})
}

// refuses makes an upgrade that must fail, and returns what the command says.
func (u *upgradable) refuses(status int, args ...string) string {
	u.t.Helper()
	out, err := u.command(args[0], args[1:]...).CombinedOutput()
	if exit := (*exec.ExitError)(nil); !errors.As(err, &exit) || exit.ExitCode() != status {
		u.t.Errorf("sluice %v: %v, want exit status %d\n%s", args, err, status, out)
	}
	return string(out)
}

// untilSessions waits until so many sessions are open, and so many of them at the backend that takes few.
func (u *upgradable) untilSessions(all, few int) {
	u.t.Helper()
	until(u.t, "the sessions are as many as they should be", func() error {
		s := u.answer()
		n := 0
		for _, l := range s.Listeners {
			n += l.Sessions
		}
		for _, p := range s.Pools {
			if p.Name == "few" && p.Backends[0].Active != few {
				return fmt.Errorf("%d at the backend that takes few, want %d", p.Backends[0].Active, few)
			}
		}
		if n < all || n > all+2 || all == 0 && n > 0 { // those that come and go
			return fmt.Errorf("%d, want %d", n, all)
		}
		return nil
	})
}

// checkCounters checks that nothing that only grows has become less.
func (u *upgradable) checkCounters(before map[string]float64) {
	u.t.Helper()
	now := u.metrics()
	for series, was := range before {
		name, _, _ := strings.Cut(series, "{")
		if !strings.HasPrefix(name, "sluice_") || !strings.HasSuffix(name, "_total") && !strings.HasSuffix(name, "_count") {
			continue
		}
		if is, ok := now[series]; !ok || is < was {
			u.t.Errorf("%s was %v and is %v (%t)", series, was, is, ok)
		}
	}
}

// filesOf is how many descriptors a process has, but for pipes.
func (u *upgradable) filesOf(pid int) int {
	u.t.Helper()
	pipes := u.answer().Pipes.Open
	files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		u.t.Fatal(err)
	}
	return len(files) - 2*pipes
}

// startLateServer starts a server that reads all that a client says, and says it again once it may answer.
func startLateServer(t *testing.T, answers <-chan struct{}) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text, err := io.ReadAll(c)
				if err != nil {
					t.Errorf("a request: %v", err)
				}
				select {
				case <-answers:
				case <-t.Context().Done():
				}
				_, _ = c.Write(text) // the client says what is missing
			}()
		}
	}()
	return l.Addr().String()
}

// halfClosed returns a connection on which the client has said all that it has to say.
func halfClosed(t *testing.T, address, text string) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if err := c.SetDeadline(time.Now().Add(2 * patient)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn)
}
