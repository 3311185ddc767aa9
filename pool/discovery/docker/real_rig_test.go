package docker

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

	"sluice/pool/discovery"
)

// dockerProgram is Debian's client: another one on the PATH may ask for a newer engine.
const dockerProgram = "/usr/bin/docker"

// A dockerd is a Docker Engine in a network namespace of its own, with the images "server" and "checked", which has a health
// check.
type dockerd struct {
	t      *testing.T
	dir    string
	socket string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when cmd has
}

// startDockerd starts an engine, or returns nil where the kernel refuses that and the environment says so.
func startDockerd(t *testing.T) *dockerd {
	t.Helper()
	if os.Getenv("SLUICE_TEST_NO_DOCKER") == "1" {
		t.Log("SLUICE_TEST_NO_DOCKER=1: nothing is tested with a Docker Engine")
		return nil
	}
	dir, err := os.MkdirTemp("", "docker-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	d := &dockerd{t: t, dir: dir, socket: filepath.Join(dir, "s")}
	d.start()
	t.Cleanup(d.stop)
	program := filepath.Join(dir, "server")
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "./testdata/server")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // there is no C library in the image
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build server: %v\n%s", err, out)
	}
	archive := filepath.Join(dir, "server.tar")
	if out, err := exec.CommandContext(t.Context(), "tar", "-C", dir, "-cf", archive, "server").CombinedOutput(); err != nil {
		t.Fatalf("pack server: %v\n%s", err, out)
	}
	const entry = `ENTRYPOINT ["/server"]`
	d.docker("import", "-c", entry, "-c", "EXPOSE 8080", archive, "server")
	d.docker("import", "-c", entry, "-c", "EXPOSE 8080",
		"-c", `HEALTHCHECK --interval=500ms --timeout=10s --retries=1 CMD ["/server", "check"]`, archive, "checked")
	return d
}

// start starts the engine and waits until it answers.
func (d *dockerd) start() {
	d.t.Helper()
	const line = `ip link set lo up && exec dockerd --data-root "$0/data" --exec-root "$0/exec" -H "unix://$0/s" --pidfile "$0/pid" --bip 10.214.99.1/24`
	log, err := os.OpenFile(filepath.Join(d.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		d.t.Fatal(err)
	}
	defer log.Close() // the engine has its own
	d.cmd = exec.Command("unshare", "-n", "-m", "sh", "-c", line, d.dir)
	d.cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	d.cmd.Stdout, d.cmd.Stderr = log, log
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	if err := d.cmd.Start(); err != nil {
		d.t.Fatalf("start dockerd: %v", err)
	}
	d.ended = make(chan struct{})
	go func() {
		_ = d.cmd.Wait() // how it ended is in its log
		close(d.ended)
	}()
	until(d.t, "dockerd answers", func() error {
		select {
		case <-d.ended:
			d.t.Fatalf("dockerd has ended. Where the kernel does not let it run, SLUICE_TEST_NO_DOCKER=1 leaves out the tests that "+
				"need it; apt-get install docker.io where there is none.\n%s", d.output())
		default:
		}
		_, err := List(d.t.Context(), "unix:"+d.socket)
		return err
	})
}

// stop ends the engine, and with it its containers.
func (d *dockerd) stop() {
	_ = d.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-d.ended:
	case <-time.After(2 * patient):
		d.t.Errorf("dockerd has not ended")
		_ = d.cmd.Process.Kill()
		<-d.ended
	}
	if d.t.Failed() {
		d.t.Logf("the last output of dockerd:\n%s", d.output())
	}
}

// output is the end of what the engine has said.
func (d *dockerd) output() string {
	text, err := os.ReadFile(filepath.Join(d.dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-4<<10):])
}

// docker runs the client, which must succeed, and returns what it prints.
func (d *dockerd) docker(args ...string) string {
	d.t.Helper()
	out, err := d.client(d.t.Context(), args...).Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		err = fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	if err != nil {
		d.t.Fatalf("docker %s: %v", strings.Join(args, " "), err)
	}
	return strings.TrimSpace(string(out))
}

func (d *dockerd) client(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, dockerProgram, append([]string{"-H", "unix://" + d.socket}, args...)...)
}

// run starts a container of a pool that is called as the pool and a word.
func (d *dockerd) run(pool, word string, args ...string) string {
	d.t.Helper()
	name := pool + "-" + word
	image := []string{"server"}
	if len(args) > 0 && args[0] == "checked" {
		args, image = args[1:], []string{"checked"}
	}
	d.docker(append(append([]string{"run", "-d", "--name", name, "--label", "sluice.pool=" + pool}, args...), image...)...)
	return name
}

// address returns where a container is reached.
func (d *dockerd) address(name string) string {
	d.t.Helper()
	return d.docker("inspect", "-f", "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}", name) + ":8080"
}

// source is the one of a pool of this engine. change changes what it asks.
func (d *dockerd) source(pool string, change ...func(*Config)) discovery.Source {
	c := Config{Socket: "unix:" + d.socket, Pool: pool}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// of returns the engine for another test.
func (d *dockerd) of(t *testing.T) *dockerd {
	other := *d
	other.t = t
	return &other
}
