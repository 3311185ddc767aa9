package e2e

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Unix sockets with and without a file, towards clients and towards servers. Who may connect is for the configuration to
// say, not for the umask.
func TestUnixSockets(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "web.sock")
	name := fmt.Sprintf("@sluice-e2e-%d", os.Getpid())
	server, err := net.Listen("unix", name+"-echo")
	if err != nil {
		t.Fatal(err)
	}
	serveConns(t, server, func(c net.Conn) { _, _ = io.Copy(c, c) })
	r := startSluiceBy(t, fmt.Sprintf(`
admin: {socket: {mode: 0660}}
listeners:
  web: {bind: ["unix:%s", "unix:%s"], pool: echo, socket: {mode: 0606, group: %d}}
pools:
  echo: {backends: [{name: echo, address: "unix:%s-echo"}]}
`, path, name, os.Getgid(), name), "sh", "-c", `umask 077 && exec "$@"`, "sh")
	for file, want := range map[string]fs.FileMode{path: 0o606, r.socket: 0o660} {
		if info, err := os.Stat(file); err != nil || info.Mode() != fs.ModeSocket|want {
			t.Errorf("%s: %v, %v; want mode %v", file, info, err, want)
		}
	}
	for _, at := range []string{path, name} {
		c, err := net.Dial("unix", at)
		if err != nil {
			t.Fatal(err)
		}
		expectEcho(t, c)
		c.Close()
	}
	r.expectClean(2)
	r.signal(syscall.SIGTERM)
	if err := r.wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket of a listener is left behind: %v", err)
	}
}

// Of many that are started at once where a dead sluice has left its sockets, one serves, and the others say why not.
func TestManyStarts(t *testing.T) {
	t.Parallel()
	const starts = 8
	dir := tempDir(t)
	config, control, web := filepath.Join(dir, "sluice.yaml"), filepath.Join(dir, "control.sock"), filepath.Join(dir, "web.sock")
	f := func(text string) {
		t.Helper()
		writeFile(t, config, text)
		for _, path := range []string{control, web} {
			leaveSocket(t, path)
		}
		var all []*process
		for i := range starts {
			cmd := exec.Command(sluiceProgram, "run", "-c", config)
			all = append(all, start(t, fmt.Sprintf("sluice-%d-%d", len(text), i), dir, cmd))
		}
		until(t, "all but one have ended", func() error {
			n := 0
			for _, p := range all {
				if p.running() {
					n++
				}
			}
			if n != 1 {
				return fmt.Errorf("%d of %d run", n, starts)
			}
			return nil
		})
		for _, p := range all {
			if !p.running() {
				if log := readFile(t, p.log); p.err == nil || !strings.Contains(log, "another process") {
					t.Errorf("one that could not start ended with %v, and says:\n%s", p.err, log)
				}
				continue
			}
			until(t, "the one that runs is ready", func() error {
				if !strings.Contains(readFile(t, p.log), "msg=ready") {
					return errors.New("its log does not say so")
				}
				return nil
			})
			p.stop()
		}
	}
	const pools = "pools: {web: {check: {type: off}, backends: [127.0.0.1:1]}}\n"
	f(fmt.Sprintf("admin: {listen: '', socket: %s}\nlisteners: {web: {bind: '127.0.0.1:0', pool: web}}\n", control) + pools)
	f(fmt.Sprintf("admin: {listen: '', socket: ''}\nlisteners: {web: {bind: 'unix:%s', pool: web}}\n", web) + pools)
}

// leaveSocket leaves a socket file as a process that was killed does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	os.Remove(path) // there may be one
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
}
