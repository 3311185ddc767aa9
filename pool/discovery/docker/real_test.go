package docker

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/pool/discovery"
	"sluice/pool/discovery/docker/dockertest"
)

// TestDockerEngine is what a real engine tells of containers that come, go, are ill and are moved.
func TestDockerEngine(t *testing.T) {
	e := dockertest.Start(t)
	if e == nil {
		return
	}
	d := &engineUnderTest{e}
	t.Run("containers", func(t *testing.T) {
		for name, test := range map[string]func(*testing.T, *engineUnderTest){
			"life": testLife, "stopping": testStopping, "signals": testSignals, "pause": testPause, "health": testHealth,
			"networks": testNetworks, "ports": testPorts, "labels": testLabels, "many": testMany,
		} {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t, &engineUnderTest{d.Of(t)})
			})
		}
	})
	d.Clear()
	t.Run("restart", func(t *testing.T) { testRestart(t, d) })
}

// A container comes with its start and goes with its end, also when it ends by itself, and comes back.
func testLife(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("life"))
	l.untilFound("")
	one := d.run("life", "one", "--label", "sluice.weight=3")
	r := l.until("it is found", func(r discovery.Report) bool { return len(r.Found) == 1 })
	if want := one + "=" + d.address(one); show(r) != want {
		t.Errorf("found %s, want %s", show(r), want)
	}
	if weight := r.Found[0].Weight; weight == nil || *weight != 3 {
		t.Errorf("its weight is %v, want 3", weight)
	}
	d.Docker("stop", one)
	l.untilFound("")
	d.Docker("start", one)
	l.untilFound(one + "=" + d.address(one))
	d.Docker("restart", one)
	l.until("it is back", func(r discovery.Report) bool { return show(r) == one+"="+d.address(one) })
	d.Docker("rename", one, "life-new")
	l.untilFound("life-new=" + d.address("life-new"))
	d.Docker("rm", "-f", "life-new")
	l.untilFound("")
}

// A container that is told to stop is left out while it still runs.
func testStopping(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("stopping"))
	one := d.run("stopping", "one", "-e", "LINGER=1")
	l.untilFound(one + "=" + d.address(one))
	stop := d.Client(t.Context(), "stop", "-t", "100", one)
	if err := stop.Start(); err != nil {
		t.Fatal(err)
	}
	l.untilFound("")
	if state := d.Docker("inspect", "-f", "{{.State.Running}}", one); state != "true" {
		t.Errorf("its state is running=%s: the end was heard and not what is before it", state)
	}
	late := listen(t, d.source("stopping", func(c *Config) { c.Port = 1 })) // somebody who asks only now
	late.untilFound("")
	d.Docker("kill", one)
	if err := stop.Wait(); err != nil {
		t.Errorf("docker stop: %v", err)
	}
	d.Docker("start", one)
	l.untilFound(one + "=" + d.address(one))
}

// Only the signal that stops a container takes it out.
func testSignals(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("signals"))
	one, two := d.run("signals", "one"), d.run("signals", "two", "--stop-signal", "HUP")
	both := one + "=" + d.address(one) + " " + two + "=" + d.address(two)
	l.until("both are found", func(r discovery.Report) bool { return sorted(r) == both })
	d.Docker("kill", "-s", "HUP", one)
	d.Docker("kill", "-s", "HUP", two)
	l.untilFound(one + "=" + d.address(one)) // the other one runs on, as this one does
	d.Docker("kill", one)
	l.untilFound("")
}

func testPause(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("pause"))
	one := d.run("pause", "one")
	found := one + "=" + d.address(one)
	for range 3 {
		l.untilFound(found)
		d.Docker("pause", one)
		l.untilFound("")
		d.Docker("unpause", one)
	}
	l.untilFound(found)
}

// A container with a health check serves while it is healthy.
func testHealth(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("health"))
	l.untilFound("")
	one := d.run("health", "one", "checked")
	found := one + "=" + d.address(one)
	l.untilFound(found)
	d.Docker("exec", one, "/server", "sick")
	l.untilFound("")
	d.Docker("exec", one, "/server", "well")
	l.untilFound(found)
	slow := d.run("health", "slow", "checked", "--health-interval", "1h")
	d.Docker("pause", one)
	l.untilFound("")                // slow has not been checked
	d.Docker("rm", "-f", one, slow) // a check costs more than all that is tested here
}

// Of a container in several networks it must be said which one counts.
func testNetworks(t *testing.T, d *engineUnderTest) {
	d.Docker("network", "create", "--subnet", "10.214.98.0/24", "back")
	open := listen(t, d.source("networks"))
	chosen := listen(t, d.source("networks", func(c *Config) { c.Network = "back" }))
	one := d.run("networks", "one")
	first := d.address(one)
	open.untilFound(one + "=" + first)
	chosen.untilFound("!container " + one + ": it has no address on the network back; those where it has one: bridge")
	d.Docker("network", "connect", "--ip", "10.214.98.50", "back", one)
	chosen.untilFound(one + "=10.214.98.50:8080")
	open.untilFound("!container " + one + ": it is in the networks back and bridge: say which one with the label sluice.network, " +
		"or with network in the pool's discover")
	d.Docker("network", "disconnect", "bridge", one)
	open.untilFound(one + "=10.214.98.50:8080")
}

// The port is the label's, else the configuration's, else the only one that is exposed.
func testPorts(t *testing.T, d *engineUnderTest) {
	open := listen(t, d.source("ports"))
	chosen := listen(t, d.source("ports", func(c *Config) { c.Port = 9 }))
	one := d.run("ports", "one")
	ip := strings.TrimSuffix(d.address(one), ":8080")
	open.untilFound(one + "=" + ip + ":8080")
	chosen.untilFound(one + "=" + ip + ":9")
	d.Docker("rm", "-f", one)
	open.untilFound("")
	one = d.run("ports", "two", "--expose", "8081", "--label", "sluice.port=8081")
	ip = strings.TrimSuffix(d.address(one), ":8080")
	open.untilFound(one + "=" + ip + ":8081")
	chosen.untilFound(one + "=" + ip + ":8081")
	d.Docker("rm", "-f", one)
	open.untilFound("")
	one = d.run("ports", "three", "--expose", "8081")
	open.untilFound("!container " + one + ": it exposes the ports 8080 and 8081: say which one with the label sluice.port")
	d.Docker("rm", "-f", one)
	open.untilFound("")
	host := d.run("ports", "host", "--network", "host", "-e", "PORT=8090", "--label", "sluice.port=8090")
	open.untilFound(host + "=127.0.0.1:8090")
	guest := d.run("ports", "guest", "--network", "container:"+host, "-e", "PORT=8091", "--label", "sluice.port=8091")
	open.until("both are found", func(r discovery.Report) bool {
		return sorted(r) == guest+"=127.0.0.1:8091 "+host+"=127.0.0.1:8090"
	})
}

// What is wrong with a container's labels is said, and the others serve.
func testLabels(t *testing.T, d *engineUnderTest) {
	l := listen(t, d.source("labels"))
	good := d.run("labels", "good")
	bad := d.run("labels", "bad", "--label", "sluice.weight=heavy")
	l.untilFound(good + "=" + d.address(good) + " !container " + bad + ": label sluice.weight=heavy: want a number from 0 to 256")
	d.Docker("rm", "-f", bad)
	l.untilFound(good + "=" + d.address(good))
}

// testMany starts 50 containers at once, and ends them at once.
func testMany(t *testing.T, d *engineUnderTest) {
	const all, atOnce = 50, 10
	l := listen(t, d.source("many"))
	next := make(chan int)
	var starters sync.WaitGroup
	for range atOnce {
		starters.Go(func() {
			for i := range next {
				if out, err := d.Client(t.Context(), "run", "-d", "--network", "host", "--name", fmt.Sprint("many-", i), "-e", fmt.Sprint("PORT=", 9000+i),
					"--label", "sluice.pool=many", "--label", fmt.Sprint("sluice.port=", 9000+i), "server").CombinedOutput(); err != nil {
					t.Errorf("start a container: %v: %s", err, out)
				}
			}
		})
	}
	want := make(map[string]bool)
	for i := range all {
		next <- i
		want[fmt.Sprintf("many-%d=127.0.0.1:%d", i, 9000+i)] = true
	}
	close(next)
	starters.Wait()
	if t.Failed() {
		return
	}
	everybody := strings.Join(slices.Sorted(maps.Keys(want)), " ")
	l.until("all are found", func(r discovery.Report) bool { return sorted(r) == everybody })
	d.Docker(append([]string{"kill"}, d.names("many")...)...)
	l.untilFound("")
}

// testRestart ends the engine, which ends its containers, and starts it again. Those that are to be started again are found
// then, and the others are not.
func testRestart(t *testing.T, d *engineUnderTest) {
	always := d.run("restart", "always", "--restart", "always")
	d.run("restart", "once")
	l := listen(t, d.source("restart"))
	l.until("both are found", func(r discovery.Report) bool { return len(r.Found) == 2 })
	d.Stop()
	l.until("an error", func(r discovery.Report) bool { return r.Err != nil })
	d.Run()
	l.until("the one that is started again", func(r discovery.Report) bool { return show(r) == always+"="+d.address(always) })
}

// engineUnderTest is an engine with what these tests need besides.
type engineUnderTest struct{ *dockertest.Engine }

// run starts a container of a pool that is called as the pool and a word.
func (d *engineUnderTest) run(pool, word string, args ...string) string {
	label := []string{"--label", "sluice.pool=" + pool}
	if len(args) > 0 && args[0] == "checked" {
		args, label = args[1:], append([]string{"checked"}, label...)
	}
	return d.Start(pool+"-"+word, append(label, args...)...)
}

// address returns where a container is reached.
func (d *engineUnderTest) address(name string) string { return d.IP(name) + ":8080" }

// source is the one of a pool of this engine. change changes what it asks.
func (d *engineUnderTest) source(pool string, change ...func(*Config)) discovery.Source {
	c := Config{Socket: d.Socket(), Pool: pool}
	for _, f := range change {
		f(&c)
	}
	return New(c)
}

// names returns the containers of a pool that run.
func (d *engineUnderTest) names(pool string) []string {
	return strings.Fields(d.Docker("ps", "-q", "--filter", "label=sluice.pool="+pool))
}

// sorted is show in the order of the words: by age is the order of a report.
func sorted(r discovery.Report) string {
	words := strings.Fields(show(r))
	slices.Sort(words)
	return strings.Join(words, " ")
}
