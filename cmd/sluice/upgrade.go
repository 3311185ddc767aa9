package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"

	"sluice/cmd/sluice/internal/admin"
)

// A world is what another process can follow.
var _ admin.Successor = (*world)(nil)

const (
	// readyTime bounds how long a successor may take until all that can fail is done. It may look up names, and read files
	// from a server that is slow.
	readyTime = time.Minute
	// exitTime is how long a successor has to end by itself once it is not to follow.
	exitTime = 5 * time.Second
)

// A successor is a process that was started to take over.
type successor struct {
	cmd     *exec.Cmd
	began   time.Time
	readyBy time.Time
	exited  chan struct{}        // closed when it has
	over    chan *handoverResult // has room for the one of its hand-over
	arrived bool                 // it has connected; guarded by succession.mu
}

// errUnderWay is why nothing of that kind can begin.
var errUnderWay = admin.Conflictf("an upgrade is under way: it takes some seconds, ask again then")

// Upgrade starts a successor and returns when it serves, or when it does not come to that; this process goes on then as if
// nothing had happened. Who has asked need not stay.
func (w *world) Upgrade(_ context.Context, asked admin.UpgradeRequest, by admin.By) (admin.Upgraded, error) {
	done, err := w.upgrade(asked, by.User)
	if err != nil {
		w.logUpgradeFailed(by.User, err)
	}
	return done, err
}

func (w *world) upgrade(asked admin.UpgradeRequest, by string) (admin.Upgraded, error) {
	program, socket, err := w.upgradable(asked.Binary)
	if err != nil {
		return admin.Upgraded{}, admin.Conflictf("%w", err)
	}
	if asked.IfReplaced {
		if replaced, why := isReplaced(program); !replaced {
			return admin.Upgraded{Reason: why, VersionBefore: thisBuild().Version, Version: thisBuild().Version, PID: os.Getpid()}, nil
		}
	}
	s, err := w.succession.start(w.launch.command(program, socket))
	if err != nil {
		return admin.Upgraded{}, err
	}
	w.log.Info("upgrade: a process is started that is to take over", "by", by, "program", program, "pid", s.cmd.Process.Pid)
	return w.await(s)
}

func (w *world) logUpgradeFailed(by string, err error) {
	w.log.Error("upgrade failed: this process goes on", "by", by, "error", err)
}

// upgradable returns what to start, and where the successor is to ask.
func (w *world) upgradable(binary string) (program, socket string, err error) {
	socket = w.now.Load().force.Admin.Socket
	switch {
	case w.launch == nil:
		return "", "", errors.New("only what sluice run has started can be upgraded")
	case w.launch.once:
		return "", "", errors.New("the configuration came from standard input, which cannot be read again: use run -c FILE")
	case w.now.Load().admin.socket == nil:
		return "", "", errors.New("there is no control socket, at which a new process takes over: give it a path with admin.socket " +
			"or --socket, and start sluice again")
	}
	program, err = w.launch.programOf(binary)
	return program, socket, err
}

// await waits for what becomes of a successor. One that does not follow has ended when await returns, unless it has
// sessions.
func (w *world) await(s *successor) (admin.Upgraded, error) {
	late := time.NewTimer(time.Until(s.readyBy))
	defer late.Stop()
	for exited := s.exited; ; {
		select {
		case r := <-s.over:
			return w.succeeded(s, r)
		case <-exited:
			exited = nil
			if err := exitError(s.cmd); w.succession.quit(s, err) { // else the hand-over finds out
				return admin.Upgraded{}, err
			}
		case <-late.C:
			err := fmt.Errorf("the new process, pid %d, did not ask to take over within %v, and was ended: is %s a sluice?",
				s.cmd.Process.Pid, readyTime, s.cmd.Path)
			if w.succession.quit(s, err) {
				s.end()
				return admin.Upgraded{}, err
			}
		}
	}
}

// succeeded makes an answer of the result of a hand-over.
func (w *world) succeeded(s *successor, r *handoverResult) (admin.Upgraded, error) {
	if r.err == nil {
		return r.upgraded(s.cmd.Process.Pid), nil
	}
	if r.status.Sessions > 0 { // it may have them until they end
		return admin.Upgraded{}, r.err
	}
	select {
	case <-s.exited:
	case <-time.After(exitTime):
	}
	s.end()
	err := listProblems(r.err)
	if s.cmd.ProcessState.ExitCode() == exitConfig {
		err = admin.WrongConfig(err)
	}
	return admin.Upgraded{}, err
}

// end ends the process, if it still runs, and waits for that.
func (s *successor) end() {
	_ = s.cmd.Process.Kill() // by a pidfd, where there are some: it is no other process
	<-s.exited
}

func exitError(cmd *exec.Cmd) error {
	err := fmt.Errorf("the new process, pid %d, has ended before it took over: %v; the log has what it said", cmd.Process.Pid,
		cmd.ProcessState)
	if cmd.ProcessState.Success() { // sluice does not
		err = fmt.Errorf("the new process, pid %d, has ended without a reason before it took over: is %s a sluice?", cmd.Process.Pid,
			cmd.Path)
	}
	if cmd.ProcessState.ExitCode() == exitConfig {
		return admin.WrongConfig(err)
	}
	return err
}
