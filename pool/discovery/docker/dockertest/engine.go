// Package dockertest has a real Docker Engine for tests: dockerd, in a network namespace of its own, with a data folder that
// goes with the test. Its containers are of images with one static program, server.
package dockertest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// client is Debian's: another one on the PATH may ask for a newer engine.
const client = "/usr/bin/docker"

// patient is how long an engine may take to start, and to end.
const patient = time.Minute

// An Engine is a running dockerd. It has the image "server", which says its host's name to everybody and then what it is told,
// on port 8080, and the image "checked", the same with a health check: see package server.
type Engine struct {
	t      *testing.T
	dir    string
	by     []string
	socket string // path
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has
}

// Start starts an engine and makes its images. by is a command that starts its further arguments in a network namespace and a
// mount namespace; none = ones of the engine's own. Where the kernel does not let dockerd run the test fails, or, where the
// environment says so, Start returns nil.
func Start(t *testing.T, by ...string) *Engine {
	t.Helper()
	e := New(t, by...)
	if e != nil {
		e.Run()
	}
	return e
}

// New is Start for an engine that does not run yet.
func New(t *testing.T, by ...string) *Engine {
	t.Helper()
	if os.Getenv("SLUICE_TEST_NO_DOCKER") == "1" {
		t.Log("SLUICE_TEST_NO_DOCKER=1: nothing is tested with a Docker Engine")
		return nil
	}
	dir, err := os.MkdirTemp("", "docker-") // short: there is room for 107 bytes in the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if len(by) == 0 {
		by = []string{"unshare", "-n", "-m"}
	}
	return &Engine{t: t, dir: dir, by: by, socket: filepath.Join(dir, "s")}
}

// Run starts the engine, and makes its images the first time.
func (e *Engine) Run() {
	e.t.Helper()
	first := e.cmd == nil
	e.start()
	until(e.t, "dockerd answers", func() error {
		select {
		case <-e.ended:
			e.t.Fatalf("dockerd has ended. Where the kernel does not let it run, SLUICE_TEST_NO_DOCKER=1 leaves out what needs it; "+
				"apt-get install docker.io where there is none.\n%s", e.output())
		default:
		}
		return e.Client(e.t.Context(), "version").Run()
	})
	if first {
		e.t.Cleanup(e.end)
		e.makeImages()
	}
}

func (e *Engine) start() {
	e.t.Helper()
	const line = `ip link set lo up && exec dockerd --data-root "$0/data" --exec-root "$0/exec" -H "unix://$0/s" --pidfile "$0/pid" --bip 10.214.99.1/24`
	log, err := os.OpenFile(filepath.Join(e.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		e.t.Fatal(err)
	}
	defer log.Close() // the engine has its own
	args := append(slices.Clone(e.by), "sh", "-c", line, e.dir)
	e.cmd = exec.Command(args[0], args[1:]...)
	e.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	e.cmd.Stdout, e.cmd.Stderr = log, log
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} // not SIGKILL: it has containers to end
	if err := e.cmd.Start(); err != nil {
		e.t.Fatalf("start dockerd: %v", err)
	}
	cmd, ended := e.cmd, make(chan struct{})
	e.ended = ended
	go func() {
		_ = cmd.Wait() // how it ended is in its log
		close(ended)
	}()
}

// end is Stop at the end of a test: the containers are not asked to end, and not waited for.
func (e *Engine) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	defer cancel()
	if ids, err := e.Client(ctx, "ps", "-q").Output(); err == nil && len(ids) > 0 {
		_ = e.Client(ctx, append([]string{"kill"}, strings.Fields(string(ids))...)...).Run() // else they are asked
	}
	e.Stop()
}

// Stop ends the engine, and with it its containers.
func (e *Engine) Stop() {
	_ = e.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-e.ended:
	case <-time.After(patient):
		e.t.Errorf("dockerd has not ended")
		_ = e.cmd.Process.Kill()
		<-e.ended
	}
	if e.t.Failed() {
		e.t.Logf("the last output of dockerd:\n%s", e.output())
	}
}

// output is the end of what the engine has said.
func (e *Engine) output() string {
	text, err := os.ReadFile(filepath.Join(e.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4<<10):])
}

func (e *Engine) makeImages() {
	e.t.Helper()
	const entry, port = `ENTRYPOINT ["/server"]`, "EXPOSE 8080"
	program, archive := filepath.Join(e.dir, "server"), filepath.Join(e.dir, "server.tar")
	build := exec.CommandContext(e.t.Context(), "go", "build", "-trimpath", "-o", program, "sluice/pool/discovery/docker/dockertest/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // there is no C library in the image
	pack := exec.CommandContext(e.t.Context(), "tar", "-C", e.dir, "-cf", archive, "server")
	for _, cmd := range []*exec.Cmd{build, pack} {
		if out, err := cmd.CombinedOutput(); err != nil {
			e.t.Fatalf("%v: %v\n%s", cmd, err, out)
		}
	}
	e.Docker("import", "-c", entry, "-c", port, archive, "server")
	e.Docker("import", "-c", entry, "-c", port,
		"-c", `HEALTHCHECK --interval=500ms --timeout=10s --retries=1 CMD ["/server", "check"]`, archive, "checked")
}

// Socket is where the engine is asked, as a configuration has it.
func (e *Engine) Socket() string { return "unix:" + e.socket }

// Docker runs the client, which must succeed, and returns what it prints.
func (e *Engine) Docker(args ...string) string {
	e.t.Helper()
	out, err := e.Client(e.t.Context(), args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		e.t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

// Client returns a command of the client.
func (e *Engine) Client(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, client, append([]string{"-H", "unix://" + e.socket}, args...)...)
}

// Start starts a container of the image "server", or of the one that the arguments begin with. It returns the name, which is
// the one given.
func (e *Engine) Start(name string, args ...string) string {
	e.t.Helper()
	image := "server"
	if len(args) > 0 && args[0] == "checked" {
		args, image = args[1:], "checked"
	}
	e.Docker(append(append([]string{"run", "-d", "--name", name}, args...), image)...)
	return name
}

// IP returns the address of a container.
func (e *Engine) IP(name string) string {
	e.t.Helper()
	return e.Docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name)
}

// Clear removes all containers.
func (e *Engine) Clear() {
	e.t.Helper()
	if all := strings.Fields(e.Docker("ps", "-aq")); len(all) > 0 {
		e.Docker(append([]string{"rm", "-f"}, all...)...)
	}
}

// Of returns the engine for a part of the test.
func (e *Engine) Of(t *testing.T) *Engine {
	other := *e
	other.t = t
	return &other
}

// until asks for a condition until it holds.
func until(t *testing.T, what string, holds func() error) {
	t.Helper()
	pace := time.NewTicker(20 * time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(patient); ; <-pace.C {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("not in %v: %s: %v", patient, what, err)
		}
	}
}
