package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"sync"
	"time"

	"sluice/cmd/sluice/internal/admin"
)

// A succession is in what way another process follows this one: one at a time.
type succession struct {
	mu    sync.Mutex
	busy  error      // why none can begin; nil: one can
	child *successor // the process that was started to follow; nil: none was
	now   *handover  // under way, until the sessions that it has left have ended; nil: none is
	last  *admin.UpgradeStatus

	doubts sync.WaitGroup // processes that may not know that this one lives
}

// start starts a process that is to follow.
func (s *succession) start(cmd *exec.Cmd) (*successor, error) {
	s.mu.Lock() // until it is known which process it is: it may ask at once
	defer s.mu.Unlock()
	if s.busy != nil {
		return nil, s.busy
	}
	child := &successor{
		cmd: cmd, began: time.Now(), readyBy: time.Now().Add(readyTime), exited: make(chan struct{}), over: make(chan *handoverResult, 1),
	}
	if err := cmd.Start(); err != nil {
		if path := (*fs.PathError)(nil); errors.As(err, &path) {
			err = path.Err // its Op means nothing to who reads this
		}
		err = fmt.Errorf("start %s: %w", cmd.Path, err)
		s.noteFailed(child, err)
		return nil, err
	}
	s.busy, s.child = errUnderWay, child
	go func() {
		_ = cmd.Wait() // how it ended is in its state
		close(child.exited)
	}()
	return child, nil
}

// noteFailed keeps why a process that was started, or was to be, did not come as far as a hand-over. The lock is held.
func (s *succession) noteFailed(child *successor, why error) {
	s.last = &admin.UpgradeStatus{At: child.began, Error: why.Error(), FromVersion: thisBuild().Version, Total: time.Since(child.began).Seconds()}
}

// quit gives up a process that has not asked to take over yet, and keeps why. It returns false when it has asked.
func (s *succession) quit(child *successor, why error) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if child.arrived {
		return false
	}
	if s.child = nil; s.busy == errUnderWay { // else another reason has come since
		s.busy = nil
	}
	s.noteFailed(child, why)
	return true
}

// enter lets a hand-over to a process begin. While one was started to follow, no other may; nor may that one once this
// process is about to end.
func (s *succession) enter(h *handover, pid int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == errUnderWay && s.child != nil && !s.child.arrived && s.child.cmd.Process.Pid == pid {
		s.child.arrived = true
		h.readyBy, h.child = s.child.readyBy, s.child
	} else if s.busy != nil {
		return s.busy
	}
	s.busy, s.now = errUnderWay, h
	return nil
}

// leave says how a hand-over went. After one that succeeded none can begin: why says so.
func (s *succession) leave(h *handover, r *handoverResult, why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy, s.child = why, nil
	if r.err != nil {
		s.now = nil
	}
	if !r.status.At.IsZero() {
		s.last = &r.status
	}
	if h.child != nil {
		h.child.over <- r
	}
}

// bar lets none begin for a reason.
func (s *succession) bar(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = why
}

// unbar takes a reason back, if no other one has come since.
func (s *succession) unbar(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == why {
		s.busy = nil
	}
}

// underWay returns the hand-over that there is; nil: none.
func (s *succession) underWay() *handover {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

// LastUpgrade is how the last hand-over went, to this process or from it; nil: there was none.
func (w *world) LastUpgrade() *admin.UpgradeStatus {
	w.succession.mu.Lock()
	defer w.succession.mu.Unlock()
	return w.succession.last
}

// noteUpgrade keeps how one went.
func (w *world) noteUpgrade(u *admin.UpgradeStatus) {
	w.succession.mu.Lock()
	defer w.succession.mu.Unlock()
	w.succession.last = u
}
