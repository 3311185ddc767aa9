package probe

import (
	"context"
	"sync"
	"syscall"
	"testing"
	"time"
)

func testOneSession(t *testing.T, c *cluster) {
	c.quiet(func() {
		p := newProber(t, as("sluice", "prefer"), c.address())
		pid := ""
		for range 20 {
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
			now := c.exec("SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice'")
			if pid != "" && now != pid || c.sessions() != 1 {
				t.Fatalf("%d sessions, the first one is %s, was %s", c.sessions(), now, pid)
			}
			pid = now
		}
		p.Close()
	})
}

// testConcurrent: probes that run at the same time do not share a session, and leave one behind.
func testConcurrent(t *testing.T, c *cluster) {
	c.quiet(func() {
		p := newProber(t, as("sluice", "prefer"), c.address())
		lostSoon(t, p)
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 10 {
					if _, err := ask(t, p); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		until(t, "one session is left", func() bool { return c.sessions() == 1 })
		p.Close()
	})
}

// testWaitInterrupted: Wait ends with its context and leaves the session as it was, however often.
func testWaitInterrupted(t *testing.T, c *cluster) {
	c.quiet(func() {
		p := newProber(t, as("sluice", "require"), c.address())
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if p.Wait(ctx) {
			t.Error("lost before there was a session")
		}
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
		pid := c.exec("SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice'")
		for i := range 50 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
			if p.Wait(ctx) {
				t.Fatal("lost")
			}
			cancel()
			if _, err := ask(t, p); err != nil {
				t.Fatal(err)
			}
		}
		if now := c.exec("SELECT pid FROM pg_stat_activity WHERE application_name = 'sluice'"); now != pid {
			t.Errorf("session %s, was %s", now, pid)
		}
		p.Close()
	})
}

const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'sluice'"

func testTerminated(t *testing.T, c *cluster) {
	for _, sslmode := range []string{"disable", "require"} {
		p := newProber(t, as("sluice", sslmode), c.address())
		lost := lostSoon(t, p)
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
		c.exec(terminate)
		wantLost(t, lost)
		if _, err := ask(t, p); err != nil {
			t.Errorf("after the end of its session: %v", err)
		}
		p.Close()
	}
}

// testTerminatedUnwatched: a probe that finds its session dead asks over a new one.
func testTerminatedUnwatched(t *testing.T, c *cluster) {
	p := newProber(t, as("sluice", "prefer"), c.address())
	for range 5 {
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
		c.exec(terminate)
	}
	p.Close()
	until(t, "the session has ended", func() bool { return c.sessions() == 0 })
}

// testChatter: a server has more to say than errors, which is no loss.
func testChatter(t *testing.T, c *cluster) {
	p := newProber(t, as("sluice", "prefer"), c.address())
	lost := lostSoon(t, p)
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	// The new value is sent to every session as a ParameterStatus.
	before := c.exec("SHOW timezone")
	c.exec("ALTER SYSTEM SET timezone = 'Asia/Tokyo'")
	c.exec("SELECT pg_reload_conf()")
	until(t, "the setting has changed", func() bool { return c.exec("SHOW timezone") == "Asia/Tokyo" })
	c.exec("ALTER SYSTEM RESET timezone")
	c.exec("SELECT pg_reload_conf()")
	until(t, "the setting has changed back", func() bool { return c.exec("SHOW timezone") == before })
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	select {
	case <-lost:
		t.Error("Wait has ended")
	default:
	}
	if n := c.sessions(); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// testCut: a probe that is cut short by the program's end leaves no trace.
func testCut(t *testing.T, c *cluster) {
	until(t, "other sessions have ended", func() bool { return c.sessions() == 0 })
	c.quiet(func() {
		for i := range 40 {
			p := newProber(t, as("sluice", []string{"disable", "require"}[i%2]), c.address())
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Duration(i)*250*time.Microsecond, cancel)
			_, _ = p.Probe(ctx)
			p.Close()
		}
	})
}

func testStopped(t *testing.T, c *cluster) {
	p := newProber(t, as("sluice", "prefer"), c.address())
	if _, err := ask(t, p); err != nil {
		t.Fatal(err)
	}
	c.signalAll(syscall.SIGSTOP)
	f := func(words ...string) {
		t.Helper()
		started := time.Now()
		_, err := askWithin(t, p, 300*time.Millisecond)
		wantError(t, err, words...)
		if took := time.Since(started); took > patient/2 || Unavailable(err) {
			t.Errorf("took %v, unavailable %t", took, Unavailable(err))
		}
	}
	f("query: no answer in time")
	f("no answer in time") // to a login
	c.signalAll(syscall.SIGCONT)
	if _, err := ask(t, p); err != nil {
		t.Errorf("when it goes on: %v", err)
	}
}

func testRestart(t *testing.T, c *cluster) {
	f := func(how syscall.Signal) {
		t.Helper()
		p := newProber(t, as("sluice", "prefer"), c.address())
		lost := lostSoon(t, p)
		if _, err := ask(t, p); err != nil {
			t.Fatal(err)
		}
		c.stop(how)
		wantLost(t, lost)
		for range 2 {
			_, err := ask(t, p)
			wantError(t, err, "connection refused")
			if !Unavailable(err) {
				t.Errorf("%v: is not unavailable", err)
			}
		}
		_, err := askOnce(t, as("sluice", "prefer"), c.address())
		if Unavailable(err) {
			t.Errorf("unavailable to a prober that was never in: %v", err)
		}
		c.start()
		if _, err := ask(t, p); err != nil {
			t.Errorf("when it is back: %v", err)
		}
	}
	f(syscall.SIGINT)
	f(syscall.SIGQUIT)
}
