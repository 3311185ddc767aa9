package l4

import (
	"fmt"
	"slices"

	"sluice/pool"
	"sluice/sysutil"
)

// An Arrival is a batch of sessions that another process hands over. They are registered here, and
// nothing is done with them until Go or Drop, one of which must be called, once, and not on a loop.
type Arrival struct {
	srv  *Server
	come []*arriving
}

// An arriving session is one that may still be taken back.
type arriving struct {
	record  *Record
	index   int
	loop    *loop
	rules   *rules
	target  *target
	backend *pool.Backend
	files   []int
	frozen  frozen // as it is to go on
	token   token  // of the session that has settled
	refused bool
}

// Adopt takes in sessions that another process hands over, with their descriptors: in the order of the
// records the client's, and then the one to the backend where there is one. The descriptors are the
// Server's from then on. Those for which there is no place here are refused: they are named by their
// numbers, and their descriptors are closed, which the other process's own do not notice. An error means
// that all are. Adopt waits for the loops, so it must not be called on one.
func (srv *Server) Adopt(records []Record, files []int) (a *Arrival, refused []int, err error) {
	a = &Arrival{srv: srv}
	if err := a.match(records, files); err != nil {
		closeFiles(files)
		return nil, nil, fmt.Errorf("adopt sessions: %w", err)
	}
	srv.lodge(a.come)
	a.harbour()
	for _, l := range srv.loops {
		mine := a.on(l)
		if len(mine) == 0 {
			continue
		}
		if !srv.onLoop(l, func() { l.adopt(mine) }) {
			return nil, nil, a.fail()
		}
	}
	a.come = slices.DeleteFunc(a.come, func(c *arriving) bool {
		if c.refused {
			refused = append(refused, c.index)
			closeFiles(c.files)
		}
		return c.refused
	})
	return a, refused, nil
}

// match gives each record its descriptors.
func (a *Arrival) match(records []Record, files []int) error {
	for i := range records {
		r, n := &records[i], 1
		if r.ServerEnd != nil {
			n = 2
		}
		if len(files) < n {
			return fmt.Errorf("%d descriptors are too few for %d records", len(files), len(records))
		}
		a.come = append(a.come, &arriving{
			record: r, index: i, files: files[:n:n], loop: a.srv.loopOf(SessionRef{ID: r.ID}), // where Kill looks for it
		})
		files = files[n:]
	}
	if len(files) > 0 {
		return fmt.Errorf("%d descriptors are too many for %d records", len(files), len(records))
	}
	return nil
}

// harbour finds the backends whose slots the sessions hold. A change of a pool may be under way, which
// waits for loops and for the Server: so neither a loop nor the Server waits for it here.
func (a *Arrival) harbour() {
	for _, c := range a.come {
		if b := c.record.Backend; b != nil && !c.refused {
			c.backend = c.target.config.Pool.Harbour(pool.BackendConfig{Name: b.Name, Address: b.Address})
		}
	}
}

// on returns those that go to a loop and have been given a place.
func (a *Arrival) on(l *loop) (list []*arriving) {
	for _, c := range a.come {
		if c.loop == l && !c.refused {
			list = append(list, c)
		}
	}
	return list
}

// fail gives up what has come to a server that has ended, and with which what has settled has.
func (a *Arrival) fail() error {
	for _, c := range a.come {
		if c.token == 0 {
			closeFiles(c.files)
		}
	}
	return ErrEnded
}

func closeFiles(files []int) {
	for _, fd := range files {
		sysutil.Close(fd)
	}
}

// Go lets the sessions go on: they are this process's.
func (a *Arrival) Go() {
	a.each(func(l *loop, s *session, c *arriving) { l.resume(s, &c.frozen) })
}

// Drop gives the sessions up: they are the other process's. They are closed without a word.
func (a *Arrival) Drop() {
	a.each(func(l *loop, s *session, _ *arriving) { l.drop(s) })
}

// each calls f on their loops for the sessions that are still arriving: the server may have ended.
func (a *Arrival) each(f func(*loop, *session, *arriving)) {
	for _, l := range a.srv.loops {
		mine := a.on(l)
		if len(mine) == 0 {
			continue
		}
		a.srv.onLoop(l, func() {
			for _, c := range mine {
				if s := l.sessions.find(c.token); s != nil {
					f(l, s, c)
				}
			}
		})
	}
	a.come = nil
}

// adopt settles sessions that come, or refuses them.
func (l *loop) adopt(list []*arriving) {
	for _, c := range list {
		l.load.Add(1)
		if err := l.admitArriving(c); err != nil {
			l.log.Warn("a session of the process before is refused", "session", c.record.ID, "error", err)
			c.refused = true
			l.vacate(c.rules)
		}
	}
}

// admitArriving settles one session.
func (l *loop) admitArriving(c *arriving) error {
	if err := l.rebuild(c); err != nil {
		return err
	}
	f := &c.frozen
	s, errno := l.settle(&f.session)
	if errno != 0 {
		return fmt.Errorf("watch it: %w", errno)
	}
	c.token = s.token(client)
	if s.backend != nil {
		s.backend.Arrive()
	}
	s.counted = c.record.Counted && s.rules.clients != nil && s.rules.clients.Arrive(s.client.Addr())
	if s.login != nil && s.login.Done && len(s.login.Key) > 0 {
		l.server.cancelKeys.add(s.login.Key, s.id, s.backend)
	}
	if s.sealed {
		l.server.sealed.add(s.client.Addr(), s.backend, 1)
	}
	return nil
}

// rebuild makes a session of a record.
func (l *loop) rebuild(c *arriving) (err error) {
	r, f := c.record, &c.frozen
	f.session = session{
		id: r.ID, state: stateNamed(r.State), rules: c.rules, target: c.target, backend: c.backend, client: r.Client,
		sealed: r.Sealed, cut: r.Cut, attempt: r.Attempt, retries: r.Retries,
		started: l.now + l.stalled - r.Age, active: l.now - r.Idle, connect: r.Connect, waited: r.Waited,
		lookAt: ahead(r.LookIn, l.now), login: r.Login, names: r.Names.names(),
		halves: [2]half{client: r.ToServer.half(), server: r.ToClient.half()},
		ends:   [2]end{client: r.ClientEnd.end(c.files[0]), server: {fd: -1}},
	}
	s := &f.session
	if r.ServerEnd != nil {
		s.ends[server] = r.ServerEnd.end(c.files[1])
	}
	if r.Opening != nil {
		var p *pool.Pool
		if c.target != nil {
			p = c.target.config.Pool
		}
		f.place = r.Opening.Place
		s.opening, err = r.Opening.opening(p, l.now)
	}
	return err
}

// drop forgets a session that is still arriving.
func (l *loop) drop(s *session) {
	l.unwatch(s)
	for i := range s.ends {
		if fd := int(s.ends[i].fd); fd >= 0 {
			sysutil.Close(fd)
		}
	}
	if s.counted {
		s.rules.clients.Retract(s.client.Addr())
		s.counted = false
	}
	l.disown(s)
	l.sessions.put(s)
}

// endAll ends all sessions of the loop, in a way, but for those that are still another process's.
func (l *loop) endAll(end func(*session)) {
	l.sessions.each(func(s *session) {
		if s.state == stateArriving {
			l.drop(s)
		} else {
			end(s)
		}
	})
}
