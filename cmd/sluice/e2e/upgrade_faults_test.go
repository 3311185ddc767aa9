package e2e

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A faultCase is what goes wrong: at which point, when it is passed for the nth time, and what happens to the process
// that passes it.
type faultCase struct {
	point  string
	nth    int
	action string // kill, stop, ask, which is SIGTERM, or cut, which ends the connection: between the halves of a message too
}

func (c faultCase) String() string { return fmt.Sprintf("%s#%d=%s", c.point, c.nth, c.action) }

// stopTime is how long a process stands still at least.
func stopTime() time.Duration {
	if everyFault() {
		return 10 * time.Second
	}
	return 4 * time.Second // longer than anything is waited for that holds sessions up
}

func everyFault() bool { return os.Getenv("SLUICE_UPGRADE_FAULTS") == "full" }

// someFaults are those that go wrong in every run of the tests: at each stage something.
var someFaults = []faultCase{
	{"sending hello", 1, "kill"},
	{"receive state", 1, "kill"},
	{"sending state", 1, "kill"},
	{"sent state", 1, "kill"},
	{"received ready", 1, "cut"},
	{"received accounts", 1, "ask"},
	{"received accounts", 1, "stop"},
	{"sending batch", 1, "cut"},
	{"sending batch", 2, "kill"},
	{"receive ack", 2, "kill"},
	{"received ack", 3, "stop"},
	{"received batch", 2, "kill"},
	{"sent ack", 2, "ask"},
	{"sent ack", 3, "stop"},
	{"sending go", 3, "cut"},
	{"sending go", 4, "kill"},
	{"received go", 3, "kill"},
	{"sent over", 1, "kill"},
	{"sent serving", 1, "ask"},
	{"sent serving", 1, "kill"},
	{"sending serving", 1, "cut"},
	{"received go", 5, "kill"},
	{"sending ack", 5, "kill"},
	{"sending ack", 5, "cut"},
	{"sent go", 5, "kill"},
}

// Wherever an upgrade goes wrong: sessions that the process which was killed did not have go on, no byte of any is lost or
// comes twice, whoever comes is served, and the next upgrade succeeds.
func TestUpgradeFaults(t *testing.T) {
	t.Parallel()
	cases := someFaults
	if everyFault() {
		cases = everyCase(t)
	}
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			t.Parallel()
			startFaulty(t).goesWrong(c)
		})
	}
}

// everyCase returns a case for each point that an upgrade passes, and everything that can happen there.
func everyCase(t *testing.T) (cases []faultCase) {
	for _, point := range tracePoints(t) {
		name, nth, _ := strings.Cut(point, "#")
		for _, action := range []string{"kill", "cut", "stop"} {
			c := faultCase{point: name, action: action}
			if _, err := fmt.Sscan(nth, &c.nth); err != nil {
				t.Fatal(err)
			}
			cases = append(cases, c)
		}
	}
	t.Logf("%d cases", len(cases))
	return cases
}

// tracePoints returns the points that an upgrade passes.
func tracePoints(t *testing.T) []string {
	f := startFaulty(t)
	v := f.invite("trace")
	writeFile(t, f.fault, "trace")
	f.upgrades()
	if err := os.Remove(f.fault); err != nil {
		t.Fatal(err)
	}
	v.goOn()
	v.end("trace")
	return readLines(t, f.fault+".trace")
}

// Each point of the cases above is one that an upgrade passes, and the stages are those that they are meant for: three
// batches, the first of sessions that do not relay.
func TestUpgradeFaultPoints(t *testing.T) {
	t.Parallel()
	points := tracePoints(t)
	for _, c := range someFaults {
		if where := fmt.Sprintf("%s#%d", c.point, c.nth); !slices.Contains(points, where) {
			t.Errorf("no upgrade passes %s", where)
		}
	}
	for _, last := range []string{"received batch#3", "received go#5", "sent ack#5", "received ack#5", "sent go#5"} {
		if !slices.Contains(points, last) {
			t.Errorf("it does not pass %s", last)
		}
	}
	for _, more := range []string{"received batch#4", "received go#6"} {
		if slices.Contains(points, more) {
			t.Errorf("it passes %s", more)
		}
	}
}

// goesWrong lets one upgrade go wrong, and the next one succeed.
func (f *faulty) goesWrong(c faultCase) {
	t := f.t
	name := c.String()
	v, old, before := f.invite(name), f.pid(), len(f.adopted())
	f.arm(c)
	u := f.beginUpgrade()
	victim := f.untilFault(u)
	if c.action == "stop" {
		f.standStill(c, victim, victim == old)
	}
	<-u.over
	if c.action == "kill" {
		until(t, "the process that was killed ends", func() error { return ended(victim) })
	}
	f.untilSettled(c, old)
	v.goOn()
	f.checkDead(c, v, victim == old, before)
	f.serves()
	f.checkStatus(c, u, f.pid() == old)
	f.upgrades()
	v.goOn()
	f.serves()
	v.end(name)
	f.untilAlone()
}

// standStill lets the process stand still that has stopped. Meanwhile the other one serves, if it is the old one and has
// not been told that it is followed.
func (f *faulty) standStill(c faultCase, victim int, isOld bool) {
	t := f.t
	until(t, "the process stands still", func() error { return stopped(victim) })
	over := time.After(stopTime())
	if !isOld && !c.committed() {
		if err := echoOnce(f.address("all")); err != nil {
			t.Errorf("a client that comes while the new process stands still: %v", err)
		}
	}
	<-over
	_ = syscall.Kill(victim, syscall.SIGCONT) // it may have been ended
}

// committed reports whether the new process has been told to serve when it comes to the point, or may have been.
func (c faultCase) committed() bool {
	switch point := c.point; {
	case point == "receive batch or go or farewell", point == "sent serving", point == "receive go":
		return true
	case strings.HasSuffix(point, " ack"), strings.HasSuffix(point, " go"):
		return c.nth == 5
	}
	return false
}

// untilSettled waits until somebody serves. If nobody is left who could, sluice is started again.
func (f *faulty) untilSettled(c faultCase, old int) {
	t := f.t
	until(t, "somebody serves", func() error {
		if f.replaceDead(old) {
			return nil
		}
		out, err := f.command("status").CombinedOutput()
		if err != nil {
			return fmt.Errorf("sluice status: %w\n%s", err, out)
		}
		return nil
	})
	// One that takes no more connections may still hold what it was given.
	if c.action == "kill" && ended(old) == nil {
		until(t, "another process serves", func() error {
			if now := f.pid(); now == old || f.pidInFile() != now {
				return fmt.Errorf("process %d serves, and %d is in the file", now, f.pidInFile())
			}
			return nil
		})
	}
}

// checkDead checks that no session has died but those of the process that was killed.
func (f *faulty) checkDead(c faultCase, v *guests, oldKilled bool, before int) {
	t := f.t
	switch {
	case c.action != "kill":
		if v.dead > 0 {
			t.Errorf("%d sessions were cut, and no process was killed", v.dead)
		}
	case oldKilled:
		adopted := 0
		if list := f.adopted(); len(list) > before {
			adopted = list[len(list)-1]
		}
		if v.dead != faultSessions-adopted {
			t.Errorf("%d sessions were cut, and %d of %d were another process's", v.dead, adopted, faultSessions)
		}
		if least := c.least(); adopted < least {
			t.Errorf("%d sessions were another process's, want %d at least", adopted, least)
		}
	default:
		s := f.status()
		moved := faultSessions // the process that was killed had followed
		if s.Upgrade != nil {
			moved = s.Upgrade.Sessions
		}
		if v.dead != moved {
			t.Errorf("%d sessions were cut, and %d had gone over", v.dead, moved)
		}
		if most := c.most(); v.dead > most {
			t.Errorf("%d sessions were cut, want %d at most", v.dead, most)
		}
	}
}

// least is how many sessions the new process has at least when the old one is killed at the point: those of each batch
// that was sent, whatever has become of it.
func (c faultCase) least() int {
	switch c.point {
	case "send counters", "sending counters", "sent counters", "send over", "sending over", "sent over", "receive serving", "received serving":
		return faultSessions
	case "sent batch":
		return c.nth
	case "send go", "sending go", "sent go":
		if c.nth == 5 {
			return faultSessions
		}
		return 1
	case "received ack": // the first is of the accounts
		if c.nth == 5 {
			return faultSessions
		}
		return min(c.nth-1, 1)
	}
	return 0
}

// most is how many sessions are the new process's at most at the point: none before it has said that it has some.
func (c faultCase) most() int {
	switch c.point {
	case "send ack", "sending ack", "sent ack", "received go":
		if c.nth > 1 {
			return faultSessions
		}
		return 1 // of the first batch
	case "receive batch or go or counters or over", "received batch":
		if c.nth > 1 {
			return faultSessions
		}
		return 0
	case "received counters", "received over", "send serving", "sending serving", "sent serving", "receive go",
		"receive batch or go or farewell":
		return faultSessions
	}
	return 0
}

// checkStatus checks that the status says what has happened, and the command too.
func (f *faulty) checkStatus(c faultCase, u *anUpgrade, oldServes bool) {
	t, s := f.t, f.status()
	if oldServes && (s.Upgrade == nil || s.Upgrade.OK || s.Upgrade.Error == "") {
		t.Errorf("an upgrade that went wrong: the status says %+v", s.Upgrade)
	}
	if oldServes && u.err == nil {
		t.Errorf("an upgrade that went wrong: sluice upgrade says %s", u.text)
	}
	if !oldServes && c.action != "kill" && (u.err != nil || s.Upgrade == nil || !s.Upgrade.OK) {
		t.Errorf("an upgrade that succeeded: %v, %s, %+v", u.err, u.text, s.Upgrade)
	}
}

// untilAlone waits until one process is left, which is the one in the file.
func (f *faulty) untilAlone() {
	t := f.t
	f.untilSessions(0, 0)
	until(t, "one process is left", func() error {
		if all, now := f.processes(), f.pid(); !slices.Equal(all, []int{now}) || f.pidInFile() != now {
			return fmt.Errorf("there are %v, %d serves, and %d is in the file", all, now, f.pidInFile())
		}
		return nil
	})
}
