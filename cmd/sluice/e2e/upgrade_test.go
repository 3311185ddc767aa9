package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/admin"
)

// upgradeConfig has a listener for everybody and one for which there are few places.
const upgradeConfig = rigHead + `
listeners:
  all: {bind: "127.0.0.1:0", pool: all}
  few: {bind: "unix:%s", pool: few}
  late: {bind: "127.0.0.1:0", pool: late}
pools:
  all: {check: {type: off}, backends: [{name: one, address: %q}]}
  few: {check: {type: off}, queue: {max: 100, timeout: 10m}, backends: [{name: one, address: %[2]q, max_conns: 2}]}
  late: {check: {type: off}, backends: [{name: one, address: %[3]q}]}
`

// Three upgrades in a row: no session notices, whatever it does, nobody is refused, what is counted goes on, and one
// process is left. What goes wrong changes nothing.
func TestUpgrade(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	var clients chorus
	all, late := u.address("all"), u.address("late")
	for range 200 {
		clients.talk(t, all)
	}
	var halves []*net.TCPConn
	for i := range 20 {
		halves = append(halves, halfClosed(t, late, fmt.Sprintf("request %d", i)))
	}
	holders := []net.Conn{u.dialFew(), u.dialFew()}
	for _, c := range holders {
		expectEcho(t, c)
	}
	var queued []net.Conn
	for i := range 5 {
		queued = append(queued, u.dialFew())
		u.untilSessions(200+20+2+i+1, 2) // or the loops might put them into the queue in another order
	}
	descriptors := u.filesOf(u.pid())
	output(t, u.command("set", "all/one", "weight=7"))
	short := clients.come(t, all)

	for range 3 {
		before := u.metrics()
		u.upgrades()
		u.untilSessions(200+20+2+5, 2)
		u.checkCounters(before)
		short.more(t, 20)
	}
	u.goesWrong()
	u.upgrades()
	short.stop()
	if s := output(t, u.command("status")); !strings.Contains(s, "all/one") || !strings.Contains(s, "weight") {
		t.Errorf("what was set is gone:\n%s", s)
	}
	u.untilSessions(200+20+2+5, 2)
	until(t, "the descriptors are as many as before", func() error {
		if now := u.filesOf(u.pid()); now > descriptors+4 {
			return fmt.Errorf("%d, and they were %d", now, descriptors)
		}
		return nil
	})
	close(u.answers)
	for i, c := range halves {
		if got, err := io.ReadAll(c); err != nil || string(got) != fmt.Sprintf("request %d", i) {
			t.Errorf("the answer to request %d: %q %v", i, got, err)
		}
		c.Close()
	}
	for _, c := range append(holders, queued...) { // each end lets the next one in
		expectEcho(t, c)
		c.Close()
	}
	clients.leave()
	u.untilSessions(0, 0)
}

// goesWrong tries upgrades that cannot succeed.
func (u *upgradable) goesWrong() {
	t, pid := u.t, u.pid()
	good := readFile(t, u.config)
	writeFile(t, u.config, good+"nonsense: 1\n")
	text := u.refuses(3, "upgrade")
	if !strings.Contains(text, "nonsense") {
		t.Errorf("a wrong configuration: %s", text)
	}
	var refusal admin.Failure
	if out, _ := u.command("upgrade", "--json").Output(); json.Unmarshal(out, &refusal) != nil || len(refusal.Problems) != 1 ||
		refusal.Problems[0].Line != strings.Count(good, "\n")+1 || refusal.Problems[0].File != u.config {
		t.Errorf("a wrong configuration as JSON: %s", out)
	}
	writeFile(t, u.config, good)
	broken := filepath.Join(filepath.Dir(u.config), "broken")
	writeFile(t, broken, "#!/bin/sh\nexit 7\n")
	if text := u.refuses(1, "upgrade", "--binary", broken); !strings.Contains(text, "permission denied") {
		t.Errorf("a program that may not be executed: %s", text)
	}
	output(t, exec.Command("chmod", "+x", broken))
	if text := u.refuses(1, "upgrade", "--binary", broken); !strings.Contains(text, "exit status 7") {
		t.Errorf("a program that does not start: %s", text)
	}
	if now := u.pid(); now != pid || u.pidInFile() != pid {
		t.Errorf("process %d serves, and %d is in the file, want %d", now, u.pidInFile(), pid)
	}
	if s := u.answer(); s.Upgrade == nil || s.Upgrade.OK || !strings.Contains(s.Upgrade.Error, "exit status 7") {
		t.Errorf("the last upgrade: %+v", s.Upgrade)
	}
}

// SIGUSR2, and a process that somebody else starts.
func TestUpgradeOtherWays(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	c := served(t, "127.0.0.1", u.address("all"), "")
	was := u.pid()
	start(t, "by-hand", filepath.Dir(u.config), exec.Command(sluiceProgram, append(u.args, "--take-over", u.socket)...))
	u.untilFollowed(was)
	expectEcho(t, c)

	was = u.pid()
	if err := syscall.Kill(was, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	u.untilFollowed(was)
	expectEcho(t, c)
	if text := output(t, u.command("reload", "--upgrade")); !strings.Contains(text, "nothing has changed") {
		t.Errorf("a reload with a program that was not replaced: %s", text)
	}
	c.Close()
	u.untilSessions(0, 0)
}

// A reload that would upgrade if the program were another one reloads when there is none, and says so. Put back, it is the
// same program.
func TestReloadWithoutProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(tempDir(t), "sluice")
	put := func() {
		if err := os.Link(sluiceProgram, program); err != nil {
			t.Fatal(err)
		}
	}
	put()
	u := startUpgradableOf(t, program)
	if err := os.Remove(program); err != nil {
		t.Fatal(err)
	}
	writeFile(t, u.config, readFile(t, u.config)+"  more: {backends: [{name: one, address: 127.0.0.1:1}]}\n")
	was, says := u.pid(), "no upgrade, but a reload: there is no program at "+program
	text, err := u.command("reload", "--upgrade").CombinedOutput()
	if err != nil || !strings.Contains(string(text), says) || !strings.Contains(string(text), "+ pool more") {
		t.Errorf("%v, %s", err, text)
	}
	if text := u.refuses(1, "upgrade"); !strings.Contains(text, "no such file") {
		t.Errorf("an upgrade without a program: %s", text)
	}
	put()
	if text, err := u.command("reload", "--upgrade").CombinedOutput(); err != nil || strings.Contains(string(text), says) {
		t.Errorf("%v, %s", err, text)
	}
	if now := u.pid(); now != was {
		t.Errorf("process %d serves, want %d", now, was)
	}
}

func (u *upgradable) dialFew() net.Conn {
	u.t.Helper()
	c, err := net.Dial("unix", u.few)
	if err != nil {
		u.t.Fatal(err)
	}
	u.t.Cleanup(func() { c.Close() })
	return c
}

// A chorus is clients that talk all the time.
type chorus struct {
	over    chan struct{}
	clients sync.WaitGroup
	once    sync.Once
}

func (c *chorus) leave() {
	close(c.over)
	c.clients.Wait()
}

// talkPace is how long each client rests between words: two hundred are ten thousand words in a second.
const talkPace = 20 * time.Millisecond

// talk lets one more client send words and expect them back.
func (c *chorus) talk(t *testing.T, address string) {
	t.Helper()
	c.once.Do(func() { c.over = make(chan struct{}) })
	conn := served(t, "127.0.0.1", address, "")
	c.clients.Go(func() {
		defer conn.Close()
		for n := 0; ; n++ {
			select {
			case <-c.over:
				return
			case <-time.After(talkPace):
			}
			_ = conn.SetDeadline(time.Now().Add(patient)) // it fails only when it is closed
			if err := echo(conn, fmt.Sprintf("word %d of many", n)); err != nil {
				t.Errorf("word %d: %v", n, err)
				return
			}
		}
	})
}

// A stream of clients that come, are answered and go.
type stream struct {
	over chan struct{}
	all  sync.WaitGroup
	came chan struct{}
}

func (c *chorus) come(t *testing.T, address string) *stream {
	s := &stream{over: make(chan struct{}), came: make(chan struct{})}
	for range 2 {
		s.all.Go(func() {
			for {
				if err := echoOnce(address); err != nil {
					t.Errorf("a client that comes: %v", err)
					return
				}
				select {
				case s.came <- struct{}{}:
				case <-s.over:
					return
				default:
				}
			}
		})
	}
	return s
}

// more waits for n more of them.
func (s *stream) more(t *testing.T, n int) {
	t.Helper()
	for range n {
		select {
		case <-s.came:
		case <-t.Context().Done():
			return
		}
	}
}

func (s *stream) stop() {
	close(s.over)
	s.all.Wait()
}
