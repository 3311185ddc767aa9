package e2e

import (
	"errors"
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Containers that share the folder of the control socket take over from each other: one that has its own pid namespace,
// another one that has its own network namespace too, and none. Sockets and sessions go on where they were opened, and new
// connections to servers are made from where sluice runs. A process 1 starts no successor, and says what to do.
func TestUpgradeOtherNamespaces(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	writeFile(t, u.config, strings.NewReplacer(
		"listeners:\n", "listeners:\n  near: {bind: \"127.0.0.1:0\", pool: near}\n",
		"pools:\n  all: {", "pools:\n  all: {queue: {timeout: 500ms}, ", "  late: {check", fmt.Sprintf("  near: {check: {type: off}, backends: [{name: one, address: %q}]}\n  late: {check", "unix:"+startUnixEcho(t)),
	).Replace(readFile(t, u.config)))
	output(t, u.command("reload"))
	all, near := u.address("all"), u.address("near")
	var clients chorus
	for range 20 {
		clients.talk(t, all)
		clients.talk(t, near)
	}
	short := clients.come(t, near)
	before := u.metrics()

	own := []string{"unshare", "--fork", "--kill-child", "--pid", "--mount-proc"}
	first := u.followedBy("first", u.process, own...)
	if pid, file := u.pid(), u.pidInFile(); pid != 1 || file != 1 {
		t.Errorf("process %d serves, and %d is in the file, want 1", pid, file)
	}
	text := u.refuses(1, "upgrade")
	if !strings.Contains(text, "is process 1 of its container") || !strings.Contains(text, "run --take-over SOCKET") {
		t.Errorf("an upgrade of process 1 says %s", text)
	}
	served(t, "127.0.0.1", all, "").Close()
	short.more(t, 20)

	second := u.followedBy("second", first, append(own, "--net")...)
	short.more(t, 20)
	if c, err := tryDial("127.0.0.1", all, ""); err == nil { // it is accepted; no server can be reached from over there
		if err := echo(c, "word"); err == nil {
			t.Error("a server on TCP is reached from another network namespace")
		}
		c.Close()
	}
	if text := readFile(t, second.log); strings.Contains(text, `"level":"ERROR"`) {
		t.Errorf("the log has an error:\n%s", text)
	}

	last := u.followedBy("last", second)
	if pid := u.pid(); pid != last.cmd.Process.Pid || u.pidInFile() != pid {
		t.Errorf("process %d serves, and %d is in the file, want %d", pid, u.pidInFile(), last.cmd.Process.Pid)
	}
	served(t, "127.0.0.1", all, "").Close()
	short.more(t, 20)
	short.stop()
	u.checkCounters(before)
	u.untilSessions(40, 0)
	clients.leave()
	u.untilSessions(0, 0)
	last.stop()
	u.expectNothingLeft()
	u.gone = true
}

// followedBy starts a process by a command, and waits until it has taken over from the one that serves, which is the child
// of another command.
func (u *upgradable) followedBy(name string, was *process, by ...string) *process {
	u.t.Helper()
	args := slices.Concat(by, []string{sluiceProgram}, u.args, []string{"--take-over", u.socket})
	p := start(u.t, name, filepath.Dir(u.config), exec.Command(args[0], args[1:]...))
	if len(by) > 0 {
		p.ending = syscall.SIGKILL // unshare takes no other for itself
	}
	until(u.t, "the "+name+" process serves", func() error {
		if !p.running() {
			u.t.Fatalf("it has ended: %v", p.err)
		}
		if was.running() {
			return errors.New("the one before runs")
		}
		return nil
	})
	if was.err != nil {
		u.t.Errorf("the process before %s ended with %v, want exit status 0", name, was.err)
	}
	return p
}

// startUnixEcho starts a server that says again what clients say, and returns where it listens.
func startUnixEcho(t *testing.T) string {
	t.Helper()
	path := filepath.Join(tempDir(t), "echo.sock")
	l, err := net.Listen("unix", path)
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
			go new(countedEcho).serve(c)
		}
	}()
	return path
}
