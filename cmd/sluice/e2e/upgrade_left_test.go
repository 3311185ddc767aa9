package e2e

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"sluice/cmd/sluice/internal/takeover"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// followed lets the test take over as a process that leaves every session where it is: one of another major version, or one
// that refuses each. It returns how many the old process says are left.
func (u *upgradable) followed(other bool) (f *fake, left int) {
	t := u.t
	t.Helper()
	major := takeover.Major
	if other {
		major++
	}
	f = u.connect(major)
	t.Cleanup(func() {
		f.conn.Close()
		sysutil.CloseFiles(f.files)
	})
	f.take(t)
	f.send(t, handoff.Ready, takeover.Ready{})
	if !other {
		f.expect(t, handoff.Accounts)
		f.send(t, handoff.Ack, takeover.Ack{})
	}
	for kind := handoff.Hello; kind != handoff.Over; {
		m, err := f.conn.Expect(handoff.Batch, handoff.Go, handoff.Counters, handoff.Over)
		if err != nil {
			t.Fatal(err)
		}
		m.CloseFiles()
		var b takeover.Batch
		var over takeover.Over
		switch kind = m.Kind; kind {
		case handoff.Batch:
			err = m.Decode(&b)
			var ack takeover.Ack
			for i := range b.Records {
				ack.Refused = append(ack.Refused, i)
			}
			f.send(t, handoff.Ack, ack)
		case handoff.Over:
			err = m.Decode(&over)
			left = over.Left
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	f.send(t, handoff.Serving, nil)
	f.expect(t, handoff.Go)
	f.send(t, handoff.Ack, takeover.Ack{})
	return f, left
}

// A process that another one has followed, and that has sessions left, is asked to end: it does as one does that serves. It
// waits for them for as long as shutdown.drain says, and a second signal ends them.
func TestUpgradeLeftAndAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		other  bool   // the new process is of another major version
		drain  string // shutdown.drain
		by     []syscall.Signal
		closes bool // the client is what ends the session
	}{
		"until the last has ended":         {true, "0s", []syscall.Signal{syscall.SIGTERM}, true},
		"until the drain timeout":          {true, "100ms", []syscall.Signal{syscall.SIGINT}, false},
		"until another signal":             {true, "10m", []syscall.Signal{syscall.SIGTERM, syscall.SIGTERM}, false},
		"of this version, until the last":  {false, "0s", []syscall.Signal{syscall.SIGTERM}, true},
		"of this version, until a timeout": {false, "100ms", []syscall.Signal{syscall.SIGTERM}, false},
		"of this version, until a signal":  {false, "10m", []syscall.Signal{syscall.SIGTERM, syscall.SIGINT}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u := startUpgradable(t)
			u.gone = true
			writeFile(t, u.config, "upgrade: {deadline: 10m}\nshutdown: {drain: "+c.drain+"}\n"+readFile(t, u.config))
			output(t, u.command("reload"))
			client := served(t, "127.0.0.1", u.address("all"), "")
			u.followed(c.other)
			until(t, "it waits for the session", func() error {
				if len(u.logged("upgrade: another process serves")) == 0 {
					return errors.New("it does not say so")
				}
				return nil
			})
			for i, s := range c.by {
				u.signal(s)
				if i == 0 && c.drain != "100ms" {
					until(t, "it hears", func() error {
						if len(u.logged("upgrade: a signal came")) == 0 {
							return errors.New("it does not say so")
						}
						return nil
					})
					expectEcho(t, client)
				}
			}
			if c.closes {
				client.Close()
			} else {
				expectEnd(t, client)
			}
			if err := u.wait(); err != nil {
				t.Errorf("it ends with %v", err)
			}
		})
	}
}

// expectEnd waits until the other side ends a connection.
func expectEnd(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes and %v, want the end", n, err)
	}
}
