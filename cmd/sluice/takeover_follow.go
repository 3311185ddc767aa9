package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/takeover"
	"sluice/l4"
	"sluice/sysutil/handoff"
)

// errTakingOver is why no other process can follow this one yet.
var errTakingOver = admin.Conflictf("this process is taking over from another one: ask again in some seconds")

// startFrom begins to serve in place of the process before. On an error that one goes on; what had come of its sessions has
// ended then.
func (w *world) startFrom(t *takeOver) error {
	w.succession.bar(errTakingOver)
	if err := w.hold(); err != nil {
		return err
	}
	err := t.explain(w.ready(t))
	if err != nil && !t.died(err) {
		return w.forsake(err)
	}
	if err := w.startParts(); err != nil {
		t.hangUp(err)
		return w.forsake(err)
	}
	if err == nil && t.from.Understood() {
		if err = t.conn.Send(handoff.Ack, takeover.Ack{}); err == nil {
			err = w.receive(t)
		}
		err = t.explain(err)
	}
	if err == nil {
		err = t.explain(w.commit(t))
	}
	if err != nil && !t.died(err) {
		return w.forsake(err)
	}
	w.succeed(t)
	return nil
}

// ready says that all is built, and takes in how everything fares over there.
func (w *world) ready(t *takeOver) error {
	t.unbind()
	ready := takeover.Ready{Untaken: w.server.Decline(), UntakenAdmin: t.untakenAdmin()}
	if err := t.conn.Send(handoff.Ready, ready); err != nil || !t.from.Understood() {
		return err
	}
	m, err := t.conn.Expect(handoff.Accounts)
	if err != nil {
		return err
	}
	var a takeover.Accounts
	if err := m.Decode(&a); err != nil {
		return err
	}
	for _, account := range a.Pools {
		if p := w.now.Load().pool(account.Name); p != nil {
			p.Assume(account)
		}
	}
	w.monitor.Assume(a.Health)
	return w.server.Assume(a.Server)
}

// receive takes in sessions until all have come that can.
func (w *world) receive(t *takeOver) error {
	for {
		m, err := t.conn.Expect(handoff.Batch, handoff.Go, handoff.Counters, handoff.Over)
		if err != nil {
			return err
		}
		switch m.Kind {
		case handoff.Over:
			var over takeover.Over
			err = m.Decode(&over)
			t.left, t.upgrade = over.Left, over.Upgrade
			return err
		case handoff.Counters:
			var c takeover.Counters
			if err = m.Decode(&c); err == nil {
				w.addCounters(t, &c)
			}
		default:
			err = w.session(t, m)
		}
		if err != nil {
			return err
		}
	}
}

// session takes in a batch, or lets one go on.
func (w *world) session(t *takeOver, m *handoff.Message) error {
	if m.Kind == handoff.Batch {
		return w.adopt(t, m)
	}
	t.own() // whatever else it says: the other process has forgotten them
	var g takeover.Go
	if err := m.Decode(&g); err != nil {
		return err
	}
	if err := w.server.Expect(g.Remaining); err != nil {
		return err
	}
	if g.Wait {
		return nil
	}
	t.letGo()
	if g.Accept && !t.accepts {
		t.accepts = true
		return w.server.Accept()
	}
	return nil
}

// adopt registers sessions, with which nothing is done yet.
func (w *world) adopt(t *takeOver, m *handoff.Message) error {
	var b takeover.Batch
	if err := m.Decode(&b); err != nil {
		m.CloseFiles()
		return err
	}
	if t.arrival != nil {
		m.CloseFiles()
		return errors.New("sessions came before those before them could go on")
	}
	arrival, refused, err := w.server.Adopt(b.Records, m.Files)
	if err != nil {
		return err
	}
	t.arrival, t.arriving = arrival, len(b.Records)-len(refused)
	return t.conn.Send(handoff.Ack, takeover.Ack{Refused: refused})
}

// own makes the batch that has come, if there is one, this process's.
func (t *takeOver) own() {
	if t.arrival != nil {
		t.waiting, t.arrival = append(t.waiting, t.arrival), nil
		t.adopted += t.arriving
	}
}

// letGo lets the sessions go on that are this process's.
func (t *takeOver) letGo() {
	for _, a := range t.waiting {
		a.Go()
	}
	t.waiting = nil
}

// commit says that this process serves, and waits for the word that it is heard.
func (w *world) commit(t *takeOver) error {
	if !t.from.Understood() {
		m, err := t.conn.Expect(handoff.Over)
		if err != nil {
			return err
		}
		var over takeover.Over
		_ = m.Decode(&over) // it is of another version
		t.upgrade = over.Upgrade
	}
	if err := t.conn.Send(handoff.Serving, nil); err != nil {
		return err
	}
	if _, err := t.conn.Expect(handoff.Go); err != nil {
		return err
	}
	return t.decide()
}

// succeed makes this process the one that serves.
func (w *world) succeed(t *takeOver) {
	if t.dead {
		w.log.Warn("upgrade: the process before has ended in the middle: this one serves", "sessions", t.adopted)
		w.expectNone()
	}
	if !t.accepts {
		if err := w.server.Accept(); err != nil {
			w.log.Error("upgrade: nothing is accepted", "error", err)
		}
	}
	w.server.Own()
	for _, l := range w.now.Load().admin.all() {
		admin.Own(l)
	}
	w.from = nil
	w.unhold()
	w.noteUpgrade(&t.upgrade)
	w.metrics.Upgraded(&t.upgrade)
	w.startAdmin()
	if err := w.pidFile.write(); err != nil {
		w.log.Error("the pid file names the process before", "error", err)
	}
	w.log.Info("upgrade: this process has taken over", "from", t.from.Version, "sessions", t.adopted, "left", t.left,
		"accept_pause", seconds(t.upgrade.AcceptPause), "longest_pause", seconds(t.upgrade.LongestPause), "total", seconds(t.upgrade.Total))
	w.logReady()
	w.remain(t)
	w.applying.Lock() // the state file is this process's now
	w.saveState(w.now.Load(), new(change.Change))
	w.applying.Unlock()
}

// toldTime is how long it is waited for the process before to tell the service manager which process serves.
const toldTime = 5 * time.Second

// remain takes in the sessions that could not come at once. It returns when the process before has told the service manager
// which process serves.
func (w *world) remain(t *takeOver) {
	err := io.EOF
	if !t.dead {
		if err = t.sayServing(); err == nil {
			_ = t.conn.SetDeadline(time.Now().Add(toldTime))
			err = w.receiveLate(t)
			_ = t.conn.SetDeadline(time.Time{})
		}
	}
	go func() {
		for err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
			err = w.receiveLate(t)
		}
		w.parted(t, err)
	}()
}

// sayServing lets the process before leave. If it cannot be told it sees that this one has hung up and lives.
func (t *takeOver) sayServing() error {
	_ = t.conn.SetDeadline(time.Time{}) // it reads, or has ended
	err := t.conn.Send(handoff.Ack, takeover.Ack{})
	if err != nil {
		_ = t.conn.Close()
	}
	return err
}

// receiveLate takes in something of sessions that could not come at once.
func (w *world) receiveLate(t *takeOver) error {
	m, err := t.conn.Expect(handoff.Batch, handoff.Go, handoff.Farewell)
	if err != nil || m.Kind != handoff.Farewell {
		if err == nil {
			err = w.session(t, m)
		}
		return err
	}
	var f takeover.Farewell
	if err := m.Decode(&f); err != nil {
		return err
	}
	w.addCounters(t, &f.Counters)
	w.noteUpgrade(&f.Upgrade)
	late := f.Upgrade
	late.Sessions, late.Left = late.Sessions-t.upgrade.Sessions, 0 // the others are counted
	w.metrics.Upgraded(&late)
	w.metrics.UpgradeEnded(late.Ended)
	return nil
}

// parted forgets the process before.
func (w *world) parted(t *takeOver, why error) {
	if t.arrival != nil {
		t.died(why)
	}
	w.expectNone()
	if why != io.EOF {
		w.log.Warn("upgrade: the process before says no more of the sessions that it has left", "error", why)
	}
	w.log.Debug("upgrade: the process before has parted", "sessions", t.adopted)
	t.close()
	w.succession.unbar(errTakingOver)
}

// expectNone forgets what the process before has held.
func (w *world) expectNone() {
	if err := w.server.Expect(l4.Remaining{}); err != nil {
		w.log.Error("upgrade: what the process before has held still counts", "error", err)
	}
}

// addCounters adds what the process before has counted. It says so again when some of its sessions have stayed.
func (w *world) addCounters(t *takeOver, c *takeover.Counters) {
	w.server.AddCounters(c.Server)
	w.admin.Assume(c.Series)
	for _, of := range c.Pools {
		if p := w.now.Load().pool(of.Name); p != nil {
			p.AddCounters(takeover.Since(t.counted[of.Name], of.Backends))
			t.counted[of.Name] = of.Backends
		}
	}
}

// forsake leaves everything to the process before, which goes on.
func (w *world) forsake(why error) error {
	w.applying.Lock()
	defer w.applying.Unlock()
	w.leaving = true // without a word to the state file
	w.endSources()
	if why == io.EOF {
		why = errors.New("it has hung up")
	}
	return fmt.Errorf("take over: the process before goes on: %w", why)
}
