package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/l4"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

const (
	// greetTime bounds how long a process that asks to take over may take to say who it is.
	greetTime = 10 * time.Second
	// ackTime bounds how long sessions wait for the other process to say that it has them. One that takes longer does not
	// run as it should, and they go on here.
	ackTime = 3 * time.Second
	// requestTime bounds how long requests to the admin API that are under way are waited for.
	requestTime = time.Second
)

// A handover is the hand-over to another process, seen from the one that leaves. Until the other one has said that it
// serves everything can be taken back: whatever fails, this process goes on.
type handover struct {
	w       *world
	conn    *handoff.Conn
	by      string
	readyBy time.Time  // by when the other process is to have its world
	child   *successor // nil: somebody else has started it
	peer    handoff.Peer
	pidfd   int // of it; -1: the kernel does not say
	speaks  takeover.Version

	departure *l4.Departure // nil: not begun
	stopped   time.Time     // when the last connection was accepted here
	kept      []string      // what the other process has no use for of the admin sockets
	reloaded  func()        // tells the service manager that nothing is being changed any more
	status    admin.UpgradeStatus

	mu        sync.Mutex    // guards what follows
	moved     int           // sessions that the other process has
	stopping  bool          // nothing is waited for: this process is to end
	committed bool          // the other process has been told to serve
	asked     chan struct{} // closed when this process is to end, see patience
	haste     chan struct{} // closed when it is to end at once
	serves    chan struct{} // closed when the other process does
	over      chan struct{} // closed when it is
}

// A handoverResult is how one went.
type handoverResult struct {
	status admin.UpgradeStatus
	to     string // version of the other process
	err    error  // nil: the other process serves
}

func (r *handoverResult) upgraded(pid int) admin.Upgraded {
	u := &r.status
	return admin.Upgraded{
		OK: true, VersionBefore: u.FromVersion, Version: r.to, PID: pid, Sessions: u.Sessions, Left: u.Left,
		AcceptPause: u.AcceptPause, LongestPause: u.LongestPause, Seconds: u.Total,
	}
}

// TakeOver hands everything over to the process at the other end, and returns when that is over.
func (w *world) TakeOver(c *net.UnixConn, by admin.By) error {
	h := &handover{
		w: w, conn: handoff.New(c), by: by.User, pidfd: -1, readyBy: time.Now().Add(readyTime), reloaded: func() {},
		status: admin.UpgradeStatus{At: time.Now(), FromVersion: thisBuild().Version},
		asked:  make(chan struct{}), haste: make(chan struct{}), serves: make(chan struct{}), over: make(chan struct{}),
	}
	defer func() {
		_ = h.conn.Close()
		if h.pidfd >= 0 {
			sysutil.Close(h.pidfd)
		}
		close(h.over)
	}()
	if err := h.greet(); err != nil {
		return err
	}
	w.log.Info("upgrade: a process takes over", "by", h.by, "pid", h.peer.PID, "version", h.speaks.Version)
	if err := h.run(); err != nil {
		h.giveBack(err)
		return nil
	}
	w.succession.leave(h, h.result(nil), errHandedOver)
	close(h.serves)
	h.finish()
	close(w.handed)
	return nil
}

var errHandedOver = admin.Conflictf("another process has taken over: ask that one")

func (h *handover) result(err error) *handoverResult {
	return &handoverResult{status: h.status, to: h.speaks.Version, err: err}
}

// greet finds out who asks, and whether it may take over now.
func (h *handover) greet() (err error) {
	h.within(greetTime)
	m, err := h.conn.Expect(handoff.Hello)
	if err != nil {
		return err
	}
	if err := m.Decode(&h.speaks); err != nil {
		return err
	}
	if h.peer, err = h.conn.Peer(); err != nil {
		return err
	}
	if h.pidfd, err = h.conn.PeerPIDFile(); err != nil {
		h.w.log.Debug("upgrade: the end of the connection is taken for that of the new process", "error", err)
	}
	if err := h.w.succession.enter(h, h.peer.PID); err != nil {
		return errors.Join(err, h.conn.Send(handoff.Refused, handoff.PeerError{Text: err.Error()}))
	}
	if err = h.welcome(); err != nil {
		h.status.Error = err.Error()
		h.w.succession.leave(h, h.result(err), nil)
	}
	return err
}

// welcome tells the other process how it finds out that this one has ended.
func (h *handover) welcome() error {
	pidfd, err := sysutil.PIDFile()
	if err != nil {
		return err
	}
	defer sysutil.Close(pidfd)
	return h.conn.Send(handoff.Welcome, thisVersion(), pidfd)
}

func thisVersion() takeover.Version {
	return takeover.Version{Major: takeover.Major, Minor: handoff.Minor, Version: thisBuild().Version, PID: os.Getpid()}
}

// run does all that can be taken back.
func (h *handover) run() error {
	h.until(h.readyBy)
	if _, err := h.expect(handoff.Take); err != nil {
		return err
	}
	if err := h.w.hold(); err != nil {
		return err
	}
	if signs := h.w.signs.Load(); signs != nil {
		h.reloaded = signs.reloading()
	}
	if err := h.sendState(); err != nil {
		return err
	}
	h.until(h.readyBy)
	m, err := h.expect(handoff.Ready)
	if err != nil {
		return err
	}
	var ready takeover.Ready
	if err := m.Decode(&ready); err != nil {
		return err
	}
	h.kept = ready.UntakenAdmin
	if err := h.depart(&ready); err != nil {
		return err
	}
	if !h.speaks.Understood() {
		h.w.log.Warn("upgrade: the new process has another format: it gets what listens, and sessions stay here until they end",
			"major", h.speaks.Major, "ours", handoff.Major)
		return h.commit()
	}
	if err := h.moveAll(); err != nil {
		return err
	}
	return h.commit()
}

// depart stops taking anything new.
func (h *handover) depart(ready *takeover.Ready) (err error) {
	if err := h.w.pauseAdmin(); err != nil {
		h.w.log.Warn("upgrade: requests to the admin API are cut", "error", err)
	}
	h.stopped = time.Now()
	if h.departure, err = h.w.server.Depart(); err != nil {
		return err
	}
	if h.speaks.Understood() && len(ready.Untaken) > 0 {
		h.departure.Retire(ready.Untaken)
	}
	return nil
}

// moveAll lets the sessions go: those first that do not relay yet, for which the other process may need places.
func (h *handover) moveAll() error {
	if _, err := h.ask(handoff.Accounts, h.w.accounts(h.departure)); err != nil {
		return err
	}
	if err := h.move(true); err != nil { // they wait over there until all have gone: then nobody here takes a place any more
		return err
	}
	if err := h.send(handoff.Go, takeover.Go{Remaining: h.departure.Remaining(), Accept: true}); err != nil {
		return err
	}
	h.status.AcceptPause = time.Since(h.stopped).Seconds()
	h.w.log.Info("upgrade: the new process accepts", "paused", time.Since(h.stopped), "moved", h.moved)
	return h.move(false)
}

// move moves the sessions that can be, all or only those that do not relay yet.
func (h *handover) move(early bool) error {
	for {
		began := time.Now()
		b, err := h.departure.Next(early)
		if b == nil || err != nil {
			return err
		}
		if err := h.moveBatch(b, early); err != nil {
			return err
		}
		h.status.LongestPause = max(h.status.LongestPause, time.Since(began).Seconds())
	}
}

// moveBatch moves some sessions. They are the other process's once it is told to let them go on: until then it does nothing
// with them, and without having been told it never will, see takeOver.died.
func (h *handover) moveBatch(b *l4.Batch, early bool) error {
	records := b.Records()
	refused, err := h.ask(handoff.Batch, takeover.Batch{Records: records}, b.Files()...)
	if err == nil {
		err = h.send(handoff.Go, takeover.Go{Remaining: h.departure.Remaining(refused...), Wait: early})
	}
	if err != nil {
		h.status.Returned += len(records)
		b.Return()
		return fmt.Errorf("move sessions: %w", err)
	}
	b.Commit(refused)
	h.mu.Lock()
	h.moved += len(records) - len(refused)
	h.mu.Unlock()
	return nil
}

// commit makes the other process the one that serves.
func (h *handover) commit() error {
	h.status.Sessions, h.status.Left = h.moved, h.departure.Left()
	h.status.OK, h.status.Total = true, time.Since(h.status.At).Seconds()
	if h.speaks.Understood() {
		if err := h.send(handoff.Counters, h.w.counters()); err != nil {
			return err
		}
	}
	if err := h.send(handoff.Over, takeover.Over{Left: h.status.Left, Upgrade: h.status}); err != nil {
		return err
	}
	h.within(ackTime)
	if _, err := h.expect(handoff.Serving); err != nil {
		return err
	}
	if err := h.send(handoff.Go, takeover.Go{Remaining: h.departure.Remaining(), Accept: true}); err != nil {
		return err
	}
	h.mu.Lock()
	h.committed = true
	h.mu.Unlock()
	if err := h.heard(); err != nil {
		return err
	}
	h.w.handOver(h.peer.PID, h.kept)
	return nil
}
