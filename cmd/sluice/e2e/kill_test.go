package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// A killPlan is how many sessions are killed, and how many of them in a second.
type killPlan struct {
	sessions, rate int
	exact          bool // the machine has nothing else to do: the time that it takes is judged
}

// killPlanOf returns the plan of the variable SLUICE_KILL_RATE: "full" is that of make kill-rate.
func killPlanOf(t *testing.T) killPlan {
	switch how := os.Getenv("SLUICE_KILL_RATE"); how {
	case "":
		return killPlan{sessions: 300, rate: 150}
	case "full":
		return killPlan{sessions: 1000, rate: 100, exact: true}
	default:
		t.Fatalf("SLUICE_KILL_RATE=%s: want full, or nothing", how)
		return killPlan{}
	}
}

// Sessions that are killed at a rate end one after the other, as their clients see it, and never faster than was asked
// for: they will all come back.
func TestKillRate(t *testing.T) {
	t.Parallel()
	plan := killPlanOf(t)
	e := startCountedEcho(t)
	r := startSluice(t, fmt.Sprintf(limitedConfig, 1, e.address()))
	spared := served(t, "127.0.0.1", r.address("limited"), "")
	clients := openCrowd(t, r.address("free"), plan.sessions)
	began := time.Now()
	noted := noteEnds(clients)
	out := output(t, exec.Command(sluiceProgram, "kill", "--listener", "free", "--rate", fmt.Sprintf("%d/s", plan.rate),
		"--json", "--socket", r.socket))
	var killed struct{ Matched, Ended int }
	if err := json.Unmarshal([]byte(out), &killed); err != nil || killed.Matched != plan.sessions || killed.Ended != plan.sessions {
		t.Errorf("sluice kill prints %q, %v; want %d matched and ended", out, err, plan.sessions)
	}
	ends := make([]time.Duration, 0, plan.sessions) // since it began, in order
	for range clients {
		end := <-noted
		if !isReset(end.err) {
			t.Errorf("a client sees %v, want a reset", end.err)
		}
		ends = append(ends, end.at.Sub(began))
	}
	plan.judge(t, ends)
	expectEcho(t, spared)
	spared.Close()
	r.expectEnds(map[string]uint64{"killed": uint64(plan.sessions), "client_closed": 1})
}

// openCrowd opens sessions, all of which work.
func openCrowd(t *testing.T, address string, n int) (clients []net.Conn) {
	t.Helper()
	for range n {
		clients = append(clients, served(t, "127.0.0.1", address, ""))
	}
	return clients
}

// A clientEnd is what a client that waits for its server has read, and when.
type clientEnd struct {
	at  time.Time
	err error
}

// noteEnds lets all clients wait for the end of their sessions. It returns when each of them does.
func noteEnds(clients []net.Conn) <-chan clientEnd {
	noted := make(chan clientEnd, len(clients)) // in the order of time: see note
	var note sync.Mutex
	for _, c := range clients {
		go func() {
			_, err := c.Read(make([]byte, 1))
			note.Lock()
			defer note.Unlock()
			noted <- clientEnd{time.Now(), err}
		}()
	}
	return noted
}

// judge holds the ends that clients have seen against the plan. However late clients are, and sluice itself, none is
// early: after so much time at most so many have ended. And they do not wait for the last one. How evenly they end is for
// a machine to show that has nothing else to do.
func (p killPlan) judge(t *testing.T, ends []time.Duration) {
	t.Helper()
	for i, at := range ends {
		if most := 1 + int(at.Seconds()*float64(p.rate)); i+1 > most {
			t.Fatalf("after %v %d have ended, want at most %d at %d/s", at, i+1, most, p.rate)
		}
	}
	last := ends[len(ends)-1]
	late := 0
	for _, at := range ends {
		if at > last*9/10 {
			late++
		}
	}
	if late > len(ends)*9/10 {
		t.Errorf("%d of %d ended in the last tenth of %v", late, len(ends), last)
	}
	took, want := last-ends[0], time.Duration(len(ends)-1)*time.Second/time.Duration(p.rate)
	parts := tenths(ends, took)
	showTable(t, "Kill at a rate", fmt.Sprintf("%d sessions at %d/s, as their clients see it: %v from the first to the last, %v at that rate\n"+
		"ended in each tenth of the time: %s", len(ends), p.rate, took.Round(time.Millisecond), want, strings.Trim(fmt.Sprint(parts), "[]")))
	if !p.exact {
		return
	}
	if took < want*9/10 || took > want*11/10 {
		t.Errorf("it took %v, want %v within 10 %%", took, want)
	}
	for i, n := range parts {
		if fair := len(ends) / len(parts); n < fair*9/10 || n > fair*11/10 {
			t.Errorf("tenth %d of the time: %d have ended, want %d within 10 %%", i+1, n, fair)
		}
	}
}

// tenths returns how many ends there are in each tenth of the time from the first one on.
func tenths(ends []time.Duration, took time.Duration) (parts [10]int) {
	for _, at := range ends {
		parts[min(9, int(10*(at-ends[0])/max(1, took)))]++
	}
	return parts
}
