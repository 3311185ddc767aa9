package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool/discovery/docker/dockertest"
)

// A dockerHost is a machine with a Docker Engine, in a network that clients reach from here.
type dockerHost struct {
	*network
	engine *dockertest.Engine
}

// A dockerSluice is a sluice on such a machine.
type dockerSluice struct {
	*dockerHost
	t      *testing.T
	sluice *process
	admin  string
	socket string // control socket
	args   []string
}

// newDockerHost makes one where nothing runs yet; nil where there can be no engine and the environment says so.
func newDockerHost(t *testing.T) *dockerHost {
	t.Helper()
	n := newNetwork(t)
	// Not by ip netns exec, which mounts another /sys: an engine needs the cgroups there.
	e := dockertest.New(t, "nsenter", "--net=/run/netns/"+n.name, "unshare", "--mount")
	if e == nil {
		return nil
	}
	return &dockerHost{network: n, engine: e}
}

// container starts one of a pool.
func (h *dockerHost) container(name, pool string, args ...string) {
	h.engine.Start(name, append([]string{"--hostname", name, "--label", "sluice.pool=" + pool}, args...)...)
}

// run starts a sluice that is asked at a port, with some arguments, and waits until it answers.
func (h *dockerHost) run(admin int, args ...string) *dockerSluice {
	h.t.Helper()
	s := &dockerSluice{
		dockerHost: h, t: h.t, admin: fmt.Sprintf("%s:%d", h.far, admin), socket: filepath.Join(tempDir(h.t), "sluice.sock"),
	}
	s.args = append([]string{"netns", "exec", h.name, sluiceProgram, "run", "--admin", s.admin, "--socket", s.socket}, args...)
	s.start("sluice-"+fmt.Sprint(admin), s.args)
	return s
}

// of returns the sluice for a part of the test.
func (h *dockerSluice) of(t *testing.T) *dockerSluice {
	part := *h
	part.t = t
	part.dockerHost = &dockerHost{network: h.network, engine: h.engine.Of(t)}
	return &part
}

// upgrade lets another process take over.
func (h *dockerSluice) upgrade() {
	h.t.Helper()
	before := h.sluice
	h.start("next", append(h.args, "--take-over", h.socket))
	if err := before.wait(); err != nil {
		h.t.Errorf("the process before ended with %v, want exit status 0", err)
	}
}

func (h *dockerSluice) start(name string, args []string) {
	h.t.Helper()
	h.sluice = start(h.network.t, name, tempDir(h.network.t), exec.Command("ip", args...))
	until(h.t, "sluice answers", func() error {
		if !h.sluice.running() {
			h.t.Fatalf("sluice has ended: %v\n%s", h.sluice.err, readFile(h.t, h.sluice.log))
		}
		_, _, err := h.get("/healthz")
		return err
	})
}

func (h *dockerSluice) get(path string) (status int, text string, err error) {
	client := http.Client{Timeout: patient}
	r, err := client.Get("http://" + h.admin + path)
	if err != nil {
		return 0, "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return r.StatusCode, string(body), err
}

// untilUnready waits until /readyz says no, with a reason that has some text in it.
func (h *dockerSluice) untilUnready(reason string) {
	h.t.Helper()
	until(h.t, "sluice is not ready: "+reason, func() error {
		status, text, err := h.get("/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(text, reason)) {
			err = fmt.Errorf("%d %s", status, text)
		}
		return err
	})
}

// warnings are what sluice says of single containers, but for those of pool app that another sluice has.
func (h *dockerSluice) warnings() (all []string) {
	h.t.Helper()
	_, text, err := h.get("/api/v1/status")
	if err != nil {
		h.t.Fatal(err)
	}
	var s struct {
		Sources []struct{ Warnings []string }
	}
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		h.t.Fatalf("%v: %s", err, text)
	}
	for _, source := range s.Sources {
		all = append(all, source.Warnings...)
	}
	return slices.DeleteFunc(all, func(text string) bool { return strings.Contains(text, ": no listener is for pool app: ") })
}

// untilWarnings waits until these are the warnings, each of which begins as one that is wanted.
func (h *dockerSluice) untilWarnings(want ...string) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("the warnings are %q", want), func() error {
		got := h.warnings()
		ok := len(got) == len(want)
		for i := range min(len(got), len(want)) {
			ok = ok && strings.HasPrefix(got[i], want[i])
		}
		if !ok {
			return fmt.Errorf("they are %q", got)
		}
		return nil
	})
}

// A hosted is a session with a container, which has said who it is.
type hosted struct {
	net.Conn
	with string
}

// visit opens a session at a port, through sluice.
func (h *dockerSluice) visit(port int) (*hosted, error) {
	c, err := net.DialTimeout("tcp", fmt.Sprintf("%s:%d", h.far, port), patient)
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patient))
	name, err := bufio.NewReader(c).ReadString('\n') // no more is sent before it is asked for
	if err != nil {
		c.Close()
		return nil, err
	}
	return &hosted{c, strings.TrimSpace(name)}, nil
}

// visitTo opens sessions until one is with a container.
func (h *dockerSluice) visitTo(port int, name string) (v *hosted) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("port %d leads to %s", port, name), func() (err error) {
		if v, err = h.visit(port); err == nil && v.with != name {
			v.Close()
			err = fmt.Errorf("it leads to %s", v.with)
		}
		return err
	})
	h.t.Cleanup(func() { v.Close() })
	return v
}

// untilOnly waits until ten sessions in a row are with one container.
func (h *dockerSluice) untilOnly(port int, name string) {
	h.t.Helper()
	until(h.t, fmt.Sprintf("port %d leads to %s alone", port, name), func() error {
		for range 10 {
			v, err := h.visit(port)
			if err != nil {
				return err
			}
			v.Close()
			if v.with != name {
				return fmt.Errorf("it leads to %s", v.with)
			}
		}
		return nil
	})
}

// visitors come one after the other, stay for a moment each, and count what goes wrong.
type visitors struct {
	over  atomic.Bool
	done  sync.WaitGroup
	mu    sync.Mutex
	with  map[string]int
	wrong []error
}

func (h *dockerSluice) startVisitors(port, number int) *visitors {
	v := &visitors{with: make(map[string]int)}
	for range number {
		v.done.Go(func() {
			for !v.over.Load() {
				v.count(h.comeAndGo(port))
			}
		})
	}
	h.t.Cleanup(func() {
		v.over.Store(true)
		v.done.Wait()
	})
	return v
}

func (h *dockerSluice) comeAndGo(port int) (with string, err error) {
	v, err := h.visit(port)
	if err != nil {
		return "", err
	}
	defer v.Close()
	return v.with, echo(v, "hello")
}

func (v *visitors) count(with string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if err != nil {
		v.wrong = append(v.wrong, err)
		return
	}
	v.with[with]++
}

// untilSeen waits until a container has had more visitors.
func (v *visitors) untilSeen(t *testing.T, name string) {
	t.Helper()
	seen := func() int {
		v.mu.Lock()
		defer v.mu.Unlock()
		return v.with[name]
	}
	before := seen()
	until(t, name+" has visitors", func() error {
		if now := seen(); now < before+10 {
			return fmt.Errorf("%d more", now-before)
		}
		return nil
	})
}

// leave ends the visits, and checks that all went well.
func (v *visitors) leave(t *testing.T) {
	t.Helper()
	v.over.Store(true)
	v.done.Wait()
	if len(v.wrong) > 0 {
		t.Errorf("of %v visits %d went wrong, the first: %v", v.with, len(v.wrong), v.wrong[0])
	}
}

// occupy listens on a port in the network, in sluice's place.
func (h *dockerSluice) occupy(port int) (l net.Listener) {
	h.t.Helper()
	h.network.run(func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprint(":", port))
		return err
	})
	h.t.Cleanup(func() { l.Close() })
	return l
}
