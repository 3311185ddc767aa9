package main

import (
	"context"
	"net"
	"slices"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/l4"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

// hold lets nothing change until unhold is called.
func (w *world) hold() error {
	w.applying.Lock()
	defer w.applying.Unlock()
	if w.leaving {
		return errLeaving
	}
	w.held = true
	return nil
}

func (w *world) unhold() {
	w.applying.Lock()
	defer w.applying.Unlock()
	w.held = false
	w.noteFound() // meanwhile it was passed over
}

// pauseAdmin lets requests wait for the process that will take them.
func (w *world) pauseAdmin() error {
	ctx, cancel := context.WithTimeout(context.Background(), requestTime)
	defer cancel()
	return w.admin.Pause(ctx)
}

// handOver leaves to another process what is its own now: the state file, the files of sockets but those that are kept,
// and what the service manager is told.
func (w *world) handOver(pid int, kept []string) {
	w.applying.Lock()
	w.leaving = true // without a word to the state file
	w.endSources()
	w.applying.Unlock()
	for of, l := range w.adminSockets() {
		if !slices.Contains(kept, of) {
			admin.Disown(l)
		}
	}
	if signs := w.signs.Load(); signs != nil {
		signs.handOver(pid)
	}
}

// adminSockets returns where the admin API is asked.
func (w *world) adminSockets() map[string]net.Listener {
	of := make(map[string]net.Listener)
	a := w.now.Load().admin
	for name, l := range map[string]net.Listener{takeover.Listen: a.listen, takeover.Metrics: a.metrics, takeover.Socket: a.socket} {
		if l != nil {
			of[name] = l
		}
	}
	return of
}

// sendState sends what is not a session, and all that listens.
func (h *handover) sendState() error {
	s, files, err := h.w.state()
	defer sysutil.CloseFiles(files.own)
	if err != nil {
		return err
	}
	return h.conn.Send(handoff.State, s, files.all...)
}

// stateFiles are the descriptors that go with a state.
type stateFiles struct {
	all []int
	own []int // those of them that were made for that
}

func (w *world) state() (s takeover.State, files stateFiles, err error) {
	g := w.now.Load()
	w.applying.Lock()
	s.Unreadable = w.foreign
	w.applying.Unlock()
	s.Generation, s.Overrides, s.LastReload = g.number, g.set.All(), w.Generation().LastReload
	if s.Timelines, err = w.timelines(); err != nil {
		return s, files, err
	}
	s.Answers = w.watch.Saved()
	s.Vanished = g.vanishedAfter(s.Answers, time.Now())
	for _, k := range w.server.Sockets() {
		s.Sockets = append(s.Sockets, k)
		files.all = append(files.all, k.FD)
	}
	for _, p := range w.advice.passed {
		s.Passed = append(s.Passed, takeover.Passed{Name: p.Name, Address: addressOf(&p)})
		files.all = append(files.all, p.FD)
	}
	configured := map[string]string{takeover.Listen: g.force.Admin.Listen, takeover.Metrics: g.force.Admin.Metrics, takeover.Socket: g.force.Admin.Socket}
	for name, l := range w.adminSockets() {
		fd, file, err := admin.Hand(l)
		if err != nil {
			return s, files, err
		}
		s.Admin = append(s.Admin, takeover.AdminSocket{For: name, Address: configured[name], File: file})
		files.all, files.own = append(files.all, fd), append(files.own, fd)
	}
	return s, files, nil
}

// accounts says how everything fares, when nothing new comes any more.
func (w *world) accounts(d *l4.Departure) takeover.Accounts {
	a := takeover.Accounts{Server: d.Account(), Health: w.monitor.Account()}
	for _, p := range w.now.Load().pools {
		a.Pools = append(a.Pools, p.Account())
	}
	return a
}

// counters are the sums of all that was counted.
func (w *world) counters() takeover.Counters {
	c := takeover.Counters{Server: w.server.Counters(), Series: w.admin.Carry()}
	for _, p := range w.now.Load().pools {
		c.Pools = append(c.Pools, takeover.PoolCounters{Name: p.Name(), Backends: p.Counters()})
	}
	return c
}
