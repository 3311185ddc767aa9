package e2e

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// A process that begins to take over, and then leaves at some step, changes nothing: sessions go on, whoever comes is
// served, and a second one takes over.
func TestUpgradeGivenUp(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	var clients chorus
	all := u.address("all")
	for range 20 {
		clients.talk(t, all)
	}
	holders := []net.Conn{u.dialFew(), u.dialFew()}
	for _, c := range holders {
		expectEcho(t, c)
	}
	queued := u.dialFew()
	u.untilSessions(20+2+1, 2)
	short := clients.come(t, all)
	for _, last := range []handoff.Kind{
		handoff.Hello, handoff.Take, handoff.Ready, handoff.Accounts, handoff.Batch, handoff.Failed,
	} {
		failed := len(u.logged("upgrade failed: this process goes on"))
		s := u.beginToTakeOver(last)
		s.conn.Close()
		sysutil.CloseFiles(s.files)
		if last != handoff.Hello {
			until(t, "it is noticed", func() error {
				if n := len(u.logged("upgrade failed: this process goes on")); n != failed+1 {
					return fmt.Errorf("%d upgrades have failed, want %d", n, failed+1)
				}
				return nil
			})
		}
		short.more(t, 20)
		u.untilSessions(20+2+1, 2)
		output(t, u.command("set", "all/one", fmt.Sprintf("weight=%d", 2+int(last)))) // changes are no longer refused
	}
	u.upgrades()
	short.stop()
	for _, c := range append(holders, queued) {
		expectEcho(t, c)
		c.Close()
	}
	clients.leave()
	u.untilSessions(0, 0)
}

// One of another major version is given what listens, and the sessions end where they are. One that is refused is told why.
func TestUpgradeOtherVersion(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	c := served(t, "127.0.0.1", u.address("all"), "")
	pid := u.pid()
	first := u.connect(takeover.Major)
	if _, err := u.tryConnect(takeover.Major); err == nil || !strings.Contains(err.Error(), "under way") {
		t.Errorf("a second process at the same time: %v", err)
	}
	first.conn.Close()
	until(t, "it is noticed", func() error {
		if len(u.logged("upgrade failed: this process goes on")) == 0 {
			return errors.New("it is not")
		}
		return nil
	})

	s := u.connect(takeover.Major + 1)
	s.take(t)
	s.send(t, handoff.Ready, takeover.Ready{})
	s.expect(t, handoff.Over)
	s.send(t, handoff.Serving, nil)
	s.expect(t, handoff.Go)
	s.send(t, handoff.Ack, takeover.Ack{})
	expectEcho(t, c)
	if err := ended(pid); err == nil {
		t.Error("the process has ended, and it has a session")
	}
	c.Close()
	until(t, "it ends with its last session", func() error { return ended(pid) })
	if got := len(s.state.Sockets); got != 3 {
		t.Errorf("%d sockets came, want 3", got)
	}
	sysutil.CloseFiles(s.files)
	s.conn.Close()
	u.gone = true
}

// A fake is the test as a process that takes over.
type fake struct {
	conn  *handoff.Conn
	state takeover.State
	files []int
}

func (u *upgradable) tryConnect(major int) (*fake, error) {
	c, err := admin.TakeOver(u.t.Context(), u.socket)
	if err != nil {
		return nil, err
	}
	f := &fake{conn: handoff.New(c)}
	if err := f.conn.Send(handoff.Hello, takeover.Version{Major: major, Version: "test"}); err != nil {
		return nil, err
	}
	m, err := f.conn.Expect(handoff.Welcome)
	if err != nil {
		f.conn.Close()
		return nil, err
	}
	f.files = append(f.files, m.Files...)
	return f, nil
}

func (u *upgradable) connect(major int) *fake {
	u.t.Helper()
	f, err := u.tryConnect(major)
	if err != nil {
		u.t.Fatal(err)
	}
	return f
}

func (f *fake) send(t *testing.T, kind handoff.Kind, body any) {
	t.Helper()
	if err := f.conn.Send(kind, body); err != nil {
		t.Fatal(err)
	}
}

func (f *fake) expect(t *testing.T, kind handoff.Kind) *handoff.Message {
	t.Helper()
	m, err := f.conn.Expect(kind)
	if err != nil {
		t.Fatal(err)
	}
	f.files = append(f.files, m.Files...)
	return m
}

func (f *fake) take(t *testing.T) {
	t.Helper()
	f.send(t, handoff.Take, nil)
	if err := f.expect(t, handoff.State).Decode(&f.state); err != nil {
		t.Fatal(err)
	}
}

// beginToTakeOver goes as far as to have received or sent a message.
func (u *upgradable) beginToTakeOver(last handoff.Kind) *fake {
	t := u.t
	t.Helper()
	f := u.connect(takeover.Major)
	if last == handoff.Hello {
		return f
	}
	if last == handoff.Failed {
		f.send(t, handoff.Failed, handoff.PeerError{Text: "it does not want to"})
		return f
	}
	f.take(t)
	if last == handoff.Take {
		return f
	}
	f.send(t, handoff.Ready, takeover.Ready{})
	if last == handoff.Ready {
		return f
	}
	f.expect(t, handoff.Accounts)
	if last == handoff.Accounts {
		return f
	}
	f.send(t, handoff.Ack, takeover.Ack{})
	f.expect(t, handoff.Batch)
	return f
}

// logged returns the lines of the log with a message.
func (r *rig) logged(msg string) (lines []logLine) {
	for _, l := range r.logLines() {
		if l.Msg == msg {
			lines = append(lines, l)
		}
	}
	return lines
}

// A process that has taken over without some of the sessions, and then crashes, takes none of those with it: they go on
// where they are until upgrade.deadline.
func TestUpgradeThenCrash(t *testing.T) {
	t.Parallel()
	u := startUpgradable(t)
	u.mayLog = "upgrade: sessions that are left"
	writeFile(t, u.config, "upgrade: {deadline: 10m}\n"+readFile(t, u.config))
	output(t, u.command("reload"))
	clients := []net.Conn{served(t, "127.0.0.1", u.address("all"), ""), served(t, "127.0.0.1", u.address("all"), "")}
	pid := u.pid()
	f, left := u.followed(false)
	if left != len(clients) {
		t.Errorf("%d sessions are left, want %d", left, len(clients))
	}
	f.conn.Close()
	clients[0].Close()
	until(t, "it is noticed", func() error {
		if len(u.logged("upgrade: sessions that are left can no longer go over")) == 0 {
			return errors.New("it is not")
		}
		return nil
	})
	expectEcho(t, clients[1])
	clients[1].Close()
	until(t, "it ends with its last session", func() error { return ended(pid) })
	u.gone = true
}
