package e2e

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestDocker is a sluice that has a pool of containers, and one that has its configuration of containers' labels alone. Both
// start without an engine, and see it restart.
func TestDocker(t *testing.T) {
	t.Parallel()
	h := newDockerHost(t)
	if h == nil {
		return
	}
	config := filepath.Join(tempDir(t), "sluice.yaml")
	writeFile(t, config, `
listeners: {app: {bind: ":5000", pool: app}}
pools:
  app:
    queue: {timeout: 10m}
    check: {interval: 200ms, fast_interval: 100ms, timeout: 30s, fall: 100}
    discover: {docker: {socket: "`+h.engine.Socket()+`"}}
`)
	beside := filepath.Join(tempDir(t), "sluice.yaml")
	writeFile(t, beside, "defaults: {pools: {check: {interval: 200ms}}}\n")
	pools, labels := h.run(9600, "-c", config), h.run(9601, "--docker="+h.engine.Socket(), "-c", beside)
	pools.untilUnready("docker " + h.engine.Socket() + " pool=app")
	labels.untilUnready("docker " + h.engine.Socket() + " labels")
	early := make(chan error, 1)
	go func() {
		with, err := pools.comeAndGo(5000)
		if err == nil && with != "one" {
			t.Errorf("who came early is with %s", with)
		}
		early <- err
	}()
	h.engine.Run()
	h.container("one", "app")
	h.container("first", "web", "--label", "sluice.listen=:5001", "--restart", "always")
	if err := <-early; err != nil {
		t.Errorf("who came before the engine: %v", err)
	}
	t.Run("together", func(t *testing.T) {
		t.Run("pools", func(t *testing.T) { testDockerPools(t, pools.of(t)) })
		t.Run("labels", func(t *testing.T) { testDockerLabels(t, labels.of(t), beside) })
	})
	h.engine.Docker("update", "--restart", "always", "one")
	h.engine.Stop()
	h.engine.Run()
	pools.untilOnly(5000, "one")
	labels.untilOnly(5001, "first")
}

// Containers come, stop, pause and go under load.
func testDockerPools(t *testing.T, h *dockerSluice) {
	t.Parallel()
	v := h.startVisitors(5000, 4)
	h.container("two", "app", "-e", "LINGER=1")
	v.untilSeen(t, "two")
	kept := h.visitTo(5000, "two")
	stop := h.engine.Client(t.Context(), "stop", "-t", "60", "two")
	if err := stop.Start(); err != nil {
		t.Fatal(err)
	}
	h.untilOnly(5000, "one")
	expectEcho(t, kept) // it goes on as long as the container does
	h.engine.Docker("kill", "two")
	if err := stop.Wait(); err != nil {
		t.Errorf("docker stop: %v", err)
	}
	h.engine.Docker("start", "two")
	v.untilSeen(t, "two")

	kept = h.visitTo(5000, "one")
	v.leave(t) // a paused container would keep some waiting
	h.engine.Docker("pause", "one")
	h.untilOnly(5000, "two")
	h.engine.Docker("unpause", "one")
	expectEcho(t, kept)
	h.visitTo(5000, "one")
	if text := output(t, command(t, sluiceProgram, "status", "--socket", h.socket)); !strings.Contains(text, "docker "+h.engine.Socket()) {
		t.Errorf("sluice status does not say where backends come from:\n%s", text)
	}
	h.engine.Docker("rm", "-f", "two")
}

// Listeners are made of labels, and the older of two containers has the say. The file beside them counts as it was read when
// somebody wanted that.
func testDockerLabels(t *testing.T, h *dockerSluice, file string) {
	t.Parallel()
	const listen = "sluice.listen=:5001"
	h.visitTo(5001, "first").Close() // from now on there is a listener
	v := h.startVisitors(5001, 2)
	h.container("more", "web", "--label", listen)
	v.untilSeen(t, "more")
	h.container("rival", "other", "--label", listen)
	h.untilWarnings("container rival: container first, which is older, has :5001 for pool web, not other")
	v.untilSeen(t, "first")
	v.untilSeen(t, "more")
	v.leave(t)
	h.engine.Docker("rm", "-f", "rival", "more")

	kept := h.visitTo(5001, "first")
	h.upgrade()
	expectEcho(t, kept)
	h.engine.Docker("restart", "first") // the listener stays meanwhile
	if _, err := h.comeAndGo(5001); err != nil {
		t.Errorf("who came when the container was restarted: %v", err)
	}

	was := readFile(t, file)
	writeFile(t, file, "nonsense: 1\n")
	for _, dry := range []string{"--dry-run=false", "--dry-run"} {
		if out, err := command(t, sluiceProgram, "reload", dry, "--socket", h.socket).CombinedOutput(); err == nil || !strings.Contains(string(out), "nonsense") {
			t.Errorf("a reload of a wrong file: %v, %s", err, out)
		}
	}
	h.occupy(5002)
	h.container("blocked", "web", "--label", "sluice.listen=:5002")
	h.untilWarnings("container blocked: listener \"docker:5002\": bind :5002: ")
	h.container("free", "web", "--label", "sluice.listen=:5003")
	h.visitTo(5003, "free")

	yaml := output(t, command(t, sluiceProgram, "check", "--docker="+h.engine.Socket()))
	printed := filepath.Join(tempDir(t), "labels.yaml")
	writeFile(t, printed, yaml)
	output(t, command(t, sluiceProgram, "check", "-c", printed))
	for _, want := range []string{`bind: ":5001"`, `bind: ":5002"`, `bind: ":5003"`, "# labels: ok: 3 listeners, 1 pool"} {
		if !strings.Contains(yaml, want) {
			t.Errorf("sluice check --docker prints no %s:\n%s", want, yaml)
		}
	}
	writeFile(t, file, was)
	output(t, command(t, sluiceProgram, "reload", "--socket", h.socket))
	h.engine.Docker("rm", "-f", "free", "blocked")
	h.container("free", "web", "--label", "sluice.listen=:5004") // who has the name of one that has gone replaces it
	h.visitTo(5004, "free")
	h.engine.Docker("rm", "-f", "free")
}
