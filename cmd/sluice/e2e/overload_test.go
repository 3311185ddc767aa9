package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// overloadFiles is how many descriptors sluice may have.
const overloadFiles = 300

// overloadChecked is how many backends there are to be checked.
const overloadChecked = 40

const overloadConfig = `
listeners:
  one: {bind: "127.0.0.1:0", pool: echo}
  two: {bind: "127.0.0.1:0", pool: echo}
  checked: {bind: "127.0.0.1:0", pool: checked}
pools:
  echo:
    check: {interval: 50ms, timeout: 30s}
    backends: [{name: echo, address: %q}]
  checked:
    check: {type: expect, steps: [{send: "?"}], interval: 200ms, timeout: 30s} # the servers see those
    backends: [%s]
`

// An overloadRig is a sluice with few descriptors.
type overloadRig struct {
	*rig
	echo      *countedEcho
	checks    atomic.Int64 // that the servers to be checked have seen
	sessions  int          // how many it can have
	addresses []string     // of its listeners
}

func startOverload(t *testing.T) *overloadRig {
	t.Helper()
	o := &overloadRig{echo: startCountedEcho(t)}
	var checked []string
	for range overloadChecked {
		checked = append(checked, strconv.Quote(serveConns(t, listenHere(t), func(c net.Conn) {
			if n, _ := io.Copy(io.Discard, c); n == 1 {
				o.checks.Add(1)
			}
		})))
	}
	config := fmt.Sprintf(overloadConfig, o.echo.address(), strings.Join(checked, ", "))
	o.rig = startSluiceBy(t, config, "sh", "-c", fmt.Sprintf(`ulimit -n %d && exec "$@"`, overloadFiles), "sh")
	o.untilUsable("echo", true)
	limits := o.limits().Limits
	if limits.Descriptors != overloadFiles || limits.Sessions < overloadFiles/4 || limits.Sessions > overloadFiles/2 {
		t.Fatalf("with %d descriptors, the limits are %+v", overloadFiles, limits)
	}
	o.untilLogged(`"msg":"limits"`, fmt.Sprintf(`"descriptors":%d`, overloadFiles),
		fmt.Sprintf(`"sessions":%d`, limits.Sessions))
	o.sessions, o.addresses = limits.Sessions, []string{o.address("one"), o.address("two")}
	return o
}

// A sluice that is full lets connections wait, and has enough descriptors left for all else: it answers questions and
// checks its backends. Those who wait are served when others end.
func TestOverload(t *testing.T) {
	t.Parallel()
	r := startOverload(t)
	open := r.fill()
	waiting := r.wait(60)
	r.untilLogged(`"level":"WARN"`, "near the limit", fmt.Sprintf(`"sessions":%d`, (r.sessions*80+99)/100),
		fmt.Sprintf(`"limit":%d`, r.sessions))
	r.untilLogged(`"level":"WARN"`, "listener rests")
	r.untilFull()
	r.expectAnswers()
	r.expectChecks()
	half := len(open) / 2
	for _, c := range open[:half] {
		expectEcho(t, c)
		c.Close()
	}
	expectServed(t, waiting)
	for _, c := range open[half:] {
		expectEcho(t, c)
		c.Close()
	}
	r.expectClean(uint64(len(open) + len(waiting)))
	for _, l := range r.limits().Listeners {
		if l.AcceptErrors != 0 || l.AtLimit {
			t.Errorf("in the end, a listener is %+v", l)
		}
	}
	if n := r.echo.most.Load(); n > int64(r.sessions) {
		t.Errorf("the server had %d sessions at a time, want at most %d", n, r.sessions)
	}
	if code, text := r.get("/readyz"); code != http.StatusOK {
		t.Errorf("in the end, /readyz answers %d %q", code, text)
	}
}

// fill opens as many sessions as there can be.
func (o *overloadRig) fill() (open []net.Conn) {
	o.t.Helper()
	for i := range o.sessions {
		if i == o.sessions/2 && len(o.warnings()) > 0 {
			o.t.Errorf("there is a warning when half of the sessions are open: %v", o.warnings())
		}
		open = append(open, served(o.t, "127.0.0.1", o.addresses[i%2], ""))
	}
	return open
}

// wait opens connections that must wait.
func (o *overloadRig) wait(n int) (waiting []net.Conn) {
	o.t.Helper()
	for i := range n {
		waiting = append(waiting, dialFrom(o.t, "127.0.0.1", o.addresses[i%2], "w"))
	}
	return waiting
}

// expectServed checks that all connections that have waited are served, each for as long as it takes.
func expectServed(t *testing.T, waiting []net.Conn) {
	t.Helper()
	var clients sync.WaitGroup
	for _, c := range waiting {
		clients.Go(func() {
			defer c.Close()
			if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
				t.Errorf("a connection that has waited: %v", err)
			}
		})
	}
	clients.Wait()
}

// warnings returns what sluice warns of.
func (r *rig) warnings() (lines []string) {
	r.t.Helper()
	for _, line := range readLines(r.t, r.log) {
		if strings.Contains(line, `"level":"WARN"`) {
			lines = append(lines, line)
		}
	}
	return lines
}

// untilFull waits until there are as many sessions as there can be.
func (o *overloadRig) untilFull() {
	o.t.Helper()
	until(o.t, "both listeners are at the limit", func() error {
		s := o.limits()
		one, two := s.listener(o.t, "one"), s.listener(o.t, "two")
		if one.Sessions+two.Sessions != o.sessions || !one.AtLimit || !two.AtLimit {
			return fmt.Errorf("they are %+v and %+v", one, two)
		}
		return nil
	})
}

// expectAnswers checks that a sluice which is full answers those who ask how it is, many at once.
func (o *overloadRig) expectAnswers() {
	o.t.Helper()
	var questions sync.WaitGroup
	for range 4 {
		for path, want := range map[string]int{
			"/healthz": http.StatusOK, "/readyz?listener=one&listener=two": http.StatusOK, "/metrics": http.StatusOK,
			"/api/v1/status": http.StatusOK,
		} {
			questions.Go(func() {
				answer, err := http.Get("http://" + o.admin + path)
				if err != nil {
					o.t.Errorf("at the limit, %s: %v", path, err)
					return
				}
				defer answer.Body.Close()
				if text, err := io.ReadAll(answer.Body); answer.StatusCode != want {
					o.t.Errorf("at the limit, %s answers %s %.200s (%v), want %d", path, answer.Status, text, err, want)
				}
			})
		}
	}
	questions.Wait()
	if b := o.status().backend(o.t, "echo"); !b.Usable || b.Active != o.sessions {
		o.t.Errorf("at the limit, the backend is %+v", b)
	}
}

// expectChecks checks that a sluice which is full goes on to ask its backends.
func (o *overloadRig) expectChecks() {
	o.t.Helper()
	begin, before := time.Now(), o.checks.Load()
	until(o.t, "checks go on", func() error {
		for _, p := range o.limits().Pools {
			for _, b := range p.Backends {
				if b.Check.Error != "" {
					o.t.Fatalf("at the limit, the check of %s fails: %s", b.Name, b.Check.Error)
				}
				if !b.Check.Last.After(begin) {
					return fmt.Errorf("the last one of %s was at %v, before %v", b.Name, b.Check.Last, begin)
				}
			}
		}
		if n := o.checks.Load() - before; n < overloadChecked {
			return fmt.Errorf("the servers have seen %d", n)
		}
		return nil
	})
}
