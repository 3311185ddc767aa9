package l4

import (
	"slices"

	"sluice/sysutil"
)

// A Batch is sessions of one loop on their way to another process. They are out of service here until
// Commit or Return, one of which must be called, once, and not on a loop.
type Batch struct {
	d        *Departure
	loop     *loop
	sessions []*frozen
}

// Records returns what the other process must know of the sessions.
func (b *Batch) Records() []Record {
	records := make([]Record, len(b.sessions))
	for i, f := range b.sessions {
		records[i] = f.record()
	}
	return records
}

// Files returns their descriptors in the order of the records: the client's, and then the one to
// the backend where there is one. They stay this process's.
func (b *Batch) Files() (files []int) {
	for _, f := range b.sessions {
		for i := range f.ends {
			if fd := int(f.ends[i].fd); fd >= 0 {
				files = append(files, fd)
			}
		}
	}
	return files
}

// Commit forgets the sessions, which are the other process's, but for some, by their numbers in the
// batch: these go back into service, and are not asked for again before they relay.
func (b *Batch) Commit(refused []int) {
	var back []*frozen
	for i, f := range b.sessions {
		if slices.Contains(refused, i) {
			b.d.hunt.refuse(f)
			back = append(back, f)
		} else {
			b.loop.forget(f)
		}
	}
	b.sessions = back
	b.Return() // the loop looks, too, whether none is left
}

// Return puts all sessions back into service.
func (b *Batch) Return() {
	list := b.sessions
	b.sessions = nil
	if b.d.srv.onLoop(b.loop, func() { b.loop.takeBack(list) }) {
		return
	}
	for _, f := range list { // the loop has ended, and so do they
		b.loop.end(b.loop.seat(&f.session), Shutdown, 0)
	}
}

func (h *hunt) refuse(f *frozen) {
	if h.refused == nil {
		h.refused = make(map[uint64]bool)
	}
	h.refused[f.id] = f.state == stateRelaying
}

// takeBack puts sessions into service in the loop that they were in.
func (l *loop) takeBack(list []*frozen) {
	for _, f := range list {
		s, errno := l.settle(&f.session)
		if errno != 0 {
			l.end(l.seat(&f.session), ConnectFailed, errno)
			continue
		}
		if l.resume(s, f); l.cutting && s.state != stateClosed {
			l.cutOff(s, Shutdown)
		}
	}
}

// forget gives back what a session holds here that is another process's now. Its connections live,
// so they are closed without a word: neither shut down nor reset.
func (l *loop) forget(f *frozen) {
	s := &f.session
	for i := range s.ends {
		if fd := int(s.ends[i].fd); fd >= 0 {
			sysutil.Close(fd)
		}
	}
	l.disown(s)
}

// disown takes a session out of what this process knows of its own: of the keys of cancel requests,
// and of what is counted.
func (l *loop) disown(s *session) {
	if s.login != nil {
		l.server.cancelKeys.remove(s.login.Key, s.id)
	}
	if s.sealed {
		l.server.sealed.add(s.client.Addr(), s.backend, -1)
	}
	if s.counted {
		s.rules.clients.Depart(s.client.Addr())
	}
	if s.backend != nil {
		s.backend.Depart()
	}
	s.rules.sessions.Add(-1)
	l.server.returnPlace(s.rules.listener)
	l.load.Add(-1)
}
