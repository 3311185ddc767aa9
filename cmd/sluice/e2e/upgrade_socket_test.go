package e2e

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The sockets of the service manager go on from process to process, also those that nothing listens at yet, and are the
// service manager's in the end: who connects then waits there, and the file stays.
func TestUpgradeSocketActivation(t *testing.T) {
	t.Parallel()
	dir, e := tempDir(t), startCountedEcho(t)
	path := filepath.Join(dir, "later.sock")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	cmd := exec.Command("sh", "-c", `export LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=web:later; exec "$@"`, "sh", sluiceProgram)
	for _, l := range []interface{ File() (*os.File, error) }{tcp.(*net.TCPListener), unix.(*net.UnixListener)} {
		f, err := l.File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		cmd.ExtraFiles = append(cmd.ExtraFiles, f)
	}
	config := fmt.Sprintf(`
listeners:
  web: {bind: %q, pool: all}
pools:
  all: {check: {type: off}, backends: [%q]}
`, tcp.Addr(), e.address())
	u := &upgradable{rig: &rig{socket: filepath.Join(dir, "sluice.sock"), config: filepath.Join(dir, "sluice.yaml")},
		pidFile: filepath.Join(dir, "pid"), few: filepath.Join(dir, "none")}
	writeFile(t, u.config, rigHead+config)
	cmd.Args = append(cmd.Args, "run", "-c", u.config, "--admin", "", "--socket", u.socket, "--pid-file", u.pidFile)
	u.process = start(t, "sluice", dir, cmd)
	t.Cleanup(u.end)
	until(t, "sluice is ready", func() error {
		if len(u.logged("ready")) == 0 {
			return errors.New("its log does not say so")
		}
		return nil
	})
	var clients chorus
	clients.talk(t, tcp.Addr().String())
	short := clients.come(t, tcp.Addr().String())
	upgrade := func() {
		t.Helper()
		was := u.status().PID
		output(t, u.command("upgrade"))
		until(t, "the process before ends", func() error { return ended(was) })
		short.more(t, 20)
	}
	upgrade()
	upgrade()
	writeFile(t, u.config, rigHead+strings.Replace(config, "pools:\n", fmt.Sprintf("  later: {bind: %q, pool: all}\npools:\n", "unix:"+path), 1))
	output(t, u.command("reload"))
	atPath := func() {
		t.Helper()
		c, err := net.Dial("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		expectEcho(t, c)
	}
	atPath()
	upgrade()
	atPath()
	short.stop()
	clients.leave()
	last := u.status().PID
	if err := syscall.Kill(last, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	until(t, "the last process ends", func() error { return ended(last) })
	u.expectNothingLeft()
	u.gone = true
	for _, l := range []net.Listener{tcp, unix} {
		c, err := net.Dial(l.Addr().Network(), l.Addr().String())
		if err != nil {
			t.Errorf("the socket of the service manager at %s: %v", l.Addr(), err)
			continue
		}
		c.Close()
	}
}
