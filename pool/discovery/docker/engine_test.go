package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/pool/discovery"
	"sluice/sysutil/systest"
)

// TestEvents: each event changes the answer, whatever the list says at that moment.
func TestEvents(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3"))
	l := listen(t, appOf(s))
	l.untilFound("a=10.1.0.2:8080 b=10.1.0.3:8080")

	s.event("pause", "a")
	l.untilFound("b=10.1.0.3:8080")
	s.containers(sample("a", "10.1.0.2", `"running"`, `"paused"`), sample("b", "10.1.0.3"))
	s.event("unpause", "a") // the list does not say so yet
	l.untilFound("a=10.1.0.2:8080 b=10.1.0.3:8080")
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3"))

	s.event("kill", "b", "signal", "15")
	l.untilFound("a=10.1.0.2:8080")
	s.event("die", "b")
	s.containers(sample("a", "10.1.0.2"))
	s.event("start", "c")
	s.containers(sample("a", "10.1.0.2"), sample("c", "10.1.0.4"))
	l.untilFound("a=10.1.0.2:8080 c=10.1.0.4:8080")

	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.9"), sample("c", "10.1.0.4"))
	s.event("start", "b") // with another address
	l.untilFound("a=10.1.0.2:8080 b=10.1.0.9:8080 c=10.1.0.4:8080")

	s.containers(sample("a", "10.1.0.2", "5 minutes", "5 minutes (unhealthy)"), sample("c", "10.1.0.4"))
	s.event("health_status: unhealthy", "a")
	l.untilFound("c=10.1.0.4:8080")
	s.containers(sample("a", "10.1.0.2"), sample("c", "10.1.0.5"))
	s.event("connect", "c")
	l.untilFound("a=10.1.0.2:8080 c=10.1.0.5:8080")
	s.containers(sample("a", "10.1.0.2"), sample("c", "10.1.0.5", `"/c"`, `"/new"`))
	s.event("rename", "c")
	l.untilFound("a=10.1.0.2:8080 new=10.1.0.5:8080")
}

// TestSignals: a signal that the container is stopped with takes it out, and no other one does.
func TestSignals(t *testing.T) {
	s := startStand(t, "")
	ids := []string{"term", "kill", "quit", "winch", "unknown", "hup", "dump", "usr1"}
	var all []string
	for i, id := range ids {
		all = append(all, sample(id, fmt.Sprintf("10.1.0.%d", 2+i)))
		s.inspect[id] = `{"Config": {"StopSignal": ""}}`
	}
	s.containers(all...)
	s.inspect["quit"] = `{"Config": {"StopSignal": "SIGQUIT"}}`
	s.inspect["winch"] = `{"Config": {"StopSignal": "28"}}`
	s.inspect["usr1"] = "nothing that can be read"
	l := listen(t, appOf(s))
	l.until("all serve", func(r discovery.Report) bool { return len(r.Found) == len(ids) })
	for id, signal := range map[string]string{"hup": "1", "dump": "3", "usr1": "10", "quit": "3", "winch": "28", "kill": "9", "unknown": "no"} {
		s.event("kill", id, "signal", signal)
	}
	l.untilFound("hup=10.1.0.7:8080 usr1=10.1.0.9:8080 dump=10.1.0.8:8080 term=10.1.0.2:8080")
	until(t, "what signals stop them is asked", func() error {
		if n := s.questions("/containers/hup/json") + s.questions("/containers/dump/json") + s.questions("/containers/usr1/json"); n != 3 {
			return fmt.Errorf("%d questions", n)
		}
		return nil
	})
	s.event("kill", "term", "signal", "SIGTERM")
	l.untilFound("hup=10.1.0.7:8080 usr1=10.1.0.9:8080 dump=10.1.0.8:8080")
}

// TestAsk: who asks once gets the containers that serve, and what is wrong with others.
func TestAsk(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3", "running", "paused"))
	found, err := appOf(s).Ask(t.Context())
	if got := show(discovery.Report{Found: found}); err != nil || got != "a=10.1.0.2:8080" {
		t.Errorf("found %s, %v", got, err)
	}
	s.containers(sample("a", "10.1.0.2"), sample("b", ""))
	found, err = appOf(s).Ask(t.Context())
	warned := discovery.Warnings(nil)
	if got := show(discovery.Report{Found: found}); !errors.As(err, &warned) || len(warned) != 1 || got != "a=10.1.0.2:8080" {
		t.Errorf("found %s, %v; want one, and a warning of the other one", got, err)
	}
}

// TestAges: containers of one second are in the order in which they were made, which is asked once.
func TestAges(t *testing.T) {
	s := startStand(t, "")
	one, date := `"Created": {age}`, `"Created": 1000000000`
	s.containers(sample("a", "10.1.0.2", one, date), sample("b", "10.1.0.3", one, date), sample("c", "10.1.0.4", one, date),
		sample("d", "10.1.0.5", one, date), sample("old", "10.1.0.6"), sample("plain", "10.1.0.7", "sluice.pool", "pool"))
	s.inspect["a"] = `{"Created": "2001-09-09T01:46:40.9Z"}`
	s.inspect["b"] = `{"Created": "2001-09-09T01:46:40.123456789Z"}`
	s.inspect["c"] = `{"Created": "1999-09-09T01:46:40.1Z"}` // of another container
	l := listen(t, appOf(s))
	want := "old=10.1.0.6:8080 c=10.1.0.4:8080 d=10.1.0.5:8080 b=10.1.0.3:8080 a=10.1.0.2:8080"
	l.untilFound(want)
	s.event("rename", "a")
	s.event("kill", "old", "signal", "15")
	l.untilFound(strings.TrimPrefix(want, "old=10.1.0.6:8080 "))
	until(t, "there was another list", func() error {
		if s.questions("/containers/json") < 2 {
			return errors.New("there was none")
		}
		return nil
	})
	if n := s.questions("/containers/a/json") + s.questions("/containers/b/json") + s.questions("/containers/plain/json"); n != 2 {
		t.Errorf("%d questions about three containers, want 2: %q", n, s.asked)
	}
}

// TestForeign: what happens to containers that are not for sluice is not asked about.
func TestForeign(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"), sample("x", "10.1.0.3", "sluice.pool", "other"))
	l := listen(t, appOf(s))
	l.untilFound("a=10.1.0.2:8080")
	asked := s.questions("/containers/json")
	for range 50 {
		s.answer(func() {
			for events := range s.streams {
				events <- `{"Type":"container","Action":"start","Actor":{"ID":"x","Attributes":{"name":"x"}},"timeNano":1}`
			}
		})
		s.event("connect", "x")
	}
	if now := s.questions("/containers/json"); now != asked {
		t.Errorf("%d more lists were asked for", now-asked)
	}
	s.event("pause", "a") // all before it have been read
	l.untilFound("")
}

// TestRestartUnheard: a container that was told to stop and was started again while nobody listened serves.
func TestRestartUnheard(t *testing.T) {
	s := startStand(t, "")
	s.inspect["a"] = `{"State": {"StartedAt": "2020-01-01T00:00:00.5Z"}}`
	s.containers(sample("a", "10.1.0.2"))
	l := listen(t, appOf(s))
	l.untilFound("a=10.1.0.2:8080")
	s.event("kill", "a", "signal", "15")
	l.untilFound("")
	s.answer(func() {
		s.inspect["a"] = `{"State": {"StartedAt": "` + time.Now().Add(time.Hour).Format(time.RFC3339Nano) + `"}}`
	})
	s.event("rename", "a") // a reason to ask
	l.untilFound("a=10.1.0.2:8080")
}

// TestMissingSocket: a socket that is not there is an error, and is found when it comes.
func TestMissingSocket(t *testing.T) {
	path := socketPath(t)
	source := New(Config{Socket: "unix:" + path, Pool: "app"})
	if _, err := source.Ask(t.Context()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("asked, the error is %v", err)
	}
	l := listen(t, source)
	r := l.until("it is said that there is none", func(r discovery.Report) bool { return errors.Is(r.Err, os.ErrNotExist) })
	if wait := time.Until(r.Next); wait <= 0 || wait > 2*discovery.FirstRetry {
		t.Errorf("it is asked again in %v", wait)
	}
	if want := "ask Docker Engine at unix:" + path + ": dial unix " + path + ": connect: no such file or directory"; r.Err.Error() != want {
		t.Errorf("the error is %v, want %s", r.Err, want)
	}
	s := startStand(t, path)
	s.containers(sample("a", "10.1.0.2"))
	l.untilFound("a=10.1.0.2:8080")
}

// TestRestartedEngine: an engine that goes and comes back is an error in between, and what has happened meanwhile is seen, also
// of a container that has died before and of whose start nothing is said.
func TestRestartedEngine(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"))
	l := listen(t, appOf(s))
	l.untilFound("a=10.1.0.2:8080")
	s.event("die", "a")
	l.untilFound("")
	s.close()
	l.until("an error", func(r discovery.Report) bool { return r.Err != nil })
	s = startStand(t, strings.TrimPrefix(s.socket, "unix:"))
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3"))
	l.untilFound("a=10.1.0.2:8080 b=10.1.0.3:8080")
}

// TestCutStream: a stream that ends after a while, as a proxy would have it, is asked for again at once, from the last event on,
// and no error is reported.
func TestCutStream(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3"))
	l := listen(t, appOf(s))
	l.untilFound("a=10.1.0.2:8080 b=10.1.0.3:8080")
	s.event("kill", "b", "signal", "15")
	l.untilFound("a=10.1.0.2:8080")
	time.Sleep(discovery.FirstRetry) // a stream that has ended before that is tried again after a pause
	lists := s.questions("/containers/json")
	s.cut()
	until(t, "the stream is asked for again", func() error {
		if n := s.questions("/events?"); n != 2 {
			return fmt.Errorf("%d streams", n)
		}
		if s.questions("/containers/json") == lists {
			return errors.New("no list")
		}
		return nil
	})
	s.event("start", "b")
	l.until("b is back", func(r discovery.Report) bool {
		if r.Err != nil {
			t.Errorf("an error is reported: %v", r.Err)
		}
		return show(r) == "a=10.1.0.2:8080 b=10.1.0.3:8080"
	})
}

// TestSharedConnection: the sources of one engine have one stream, which ends with the last one.
func TestSharedConnection(t *testing.T) {
	s := startStand(t, "")
	s.containers(sample("a", "10.1.0.2"), sample("b", "10.1.0.3", `"app"`, `"web"`))
	before := systest.OpenFiles()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	answers := make(chan string, 100)
	for _, pool := range []string{"app", "web"} {
		go func() {
			New(Config{Socket: s.socket, Pool: pool}).Run(ctx, func(r discovery.Report) { answers <- show(r) })
			ended <- struct{}{}
		}()
	}
	for want := map[string]bool{"a=10.1.0.2:8080": true, "b=10.1.0.3:8080": true}; len(want) > 0; {
		delete(want, <-answers)
	}
	if n := s.questions("/events?"); n != 1 {
		t.Errorf("%d streams of events, want 1", n)
	}
	cancel()
	<-ended
	<-ended
	s.close()
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors are left open: %q", left)
	}
}

// TestNoAnswer: what an engine says in place of an answer is in the error.
func TestNoAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*stand)
		want   string
	}{
		"refused":      {func(s *stand) { s.status, s.list = 403, `{"message": "not for you"}` }, "GET /v1.41/containers/json: 403 Forbidden: not for you"},
		"in plain":     {func(s *stand) { s.status, s.list = 400, "too old\n" }, "GET /v1.41/containers/json: 400 Bad Request: too old"},
		"no words":     {func(s *stand) { s.status, s.list = 500, "" }, "GET /v1.41/containers/json: 500 Internal Server Error"},
		"garbage":      {func(s *stand) { s.list = "<html>" }, "read list of containers: invalid character '<'"},
		"no version":   {func(s *stand) { s.api = "" }, `ask for the version of its API: "" is no version`},
		"old":          {func(s *stand) { s.api = "1.23" }, "it speaks version 1.23 of its API: 1.24 is the oldest that will do"},
		"empty object": {func(s *stand) { s.list = "[{}]" }, "container 1 of 1 has no id"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startStand(t, "")
			c.change(s)
			if _, err := appOf(s).Ask(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("asked, the error is %v, want %s", err, c.want)
			}
			l := listen(t, appOf(s))
			l.until(c.want, func(r discovery.Report) bool { return r.Err != nil && strings.Contains(r.Err.Error(), c.want) })
		})
	}
}

// TestVersions: the newest version that both know is spoken, and with an engine that has given up all of them its oldest.
func TestVersions(t *testing.T) {
	for _, c := range []struct{ newest, oldest, want string }{
		{"1.24", "1.12", "1.24"}, {"1.41", "1.12", "1.41"}, {"1.52", "1.44", "1.52"}, {"1.57", "1.44", "1.52"},
		{"1.70", "1.60", "1.60"}, {"2.0", "1.53", "1.53"}, {"1.57", "", "1.52"},
	} {
		s := startStand(t, "")
		s.api, s.least = c.newest, c.oldest
		if _, err := appOf(s).Ask(t.Context()); err != nil {
			t.Errorf("an engine of %s to %s: %v", c.oldest, c.newest, err)
		}
		if s.questions("/v"+c.want+"/containers/json") != 1 {
			t.Errorf("an engine of %s to %s is asked %q, want version %s", c.oldest, c.newest, s.asked, c.want)
		}
	}
}

// TestMarks: an event counts for some time against a list, and a signal that was not heeded is forgotten.
func TestMarks(t *testing.T) {
	m := make(marks)
	now := time.Unix(1e9, 0)
	serves := func() string {
		all := []Container{{ID: "a", state: running}, {ID: "b", state: running}, {ID: "c", state: paused}}
		m.forget(now)
		m.judge(all)
		var ids string
		for _, c := range all {
			if c.Serves {
				ids += c.ID
			}
		}
		return ids
	}
	note := func(action, id string) {
		e := event{Type: "container", Action: action}
		e.Actor.ID = id
		m.note(&e, now)
	}
	expect := func(after time.Duration, want string) {
		t.Helper()
		now = now.Add(after)
		if got := serves(); got != want {
			t.Errorf("%q serve, want %q", got, want)
		}
	}
	expect(0, "ab")
	note("pause", "a")
	note("unpause", "c")
	m.stops("b", now, now)
	expect(settled, "c")
	expect(time.Nanosecond, "a")
	expect(longestStop-settled-time.Nanosecond, "a")
	expect(time.Nanosecond, "ab")
	m.stops("a", now.Add(-longestStop+time.Second), now) // heard late
	m.stops("b", now.Add(time.Hour), now)                // by a clock that is ahead
	expect(time.Second, "")
	expect(time.Nanosecond, "a")
	expect(longestStop, "ab")
	m.stops("a", now, now)
	note("die", "a")
	expect(0, "b")
	note("start", "a")
	expect(0, "ab")
	expect(settled+time.Nanosecond, "ab")
	if len(m) > 0 {
		t.Errorf("%d marks are left", len(m))
	}
}

// until waits for a condition.
func until(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	if !systest.Wait(patient, func() bool { err = check(); return err == nil }) {
		t.Fatalf("not in %v: %s: %v", patient, what, err)
	}
}
