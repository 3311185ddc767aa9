package e2e

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
)

// A hesitant client says only half of its first words before it is told to go on.
type hesitant struct {
	net.Conn
	goOn <-chan struct{}
	said chan<- struct{} // has room
	once sync.Once
}

func (c *hesitant) CloseWrite() error { return finish(c.Conn) }

func (c *hesitant) Write(data []byte) (n int, err error) {
	c.once.Do(func() {
		n, err = c.Conn.Write(data[:len(data)/2])
		c.said <- struct{}{}
		<-c.goOn
	})
	if err != nil {
		return n, err
	}
	rest, err := c.Conn.Write(data[n:])
	return n + rest, err
}

// hesitate opens sessions of which the first words have come half. The function that it returns lets them go on.
func (r *upgradesRig) hesitate() (goOn func()) {
	r.t.Helper()
	over, n := make(chan struct{}), 2*r.plan.hesitant
	said, done := make(chan struct{}, n), make(chan error, n)
	for i := range n {
		kind := []string{"told", "tls"}[i%2]
		go func() {
			s, err := r.beginTalk(kind, r.values[kind], 5000+uint32(i), func(c net.Conn) net.Conn {
				return &hesitant{Conn: c, goOn: over, said: said}
			})
			if err == nil {
				err = s.leave()
			}
			if err != nil {
				err = fmt.Errorf("a client of %s that hesitates: %w", kind, err)
			}
			done <- err
		}()
	}
	stop := sync.OnceFunc(func() {
		close(over)
		for range n {
			if err := <-done; err != nil {
				r.t.Error(err)
			}
		}
	})
	r.t.Cleanup(stop)
	for range n {
		select {
		case <-said:
		case err := <-done:
			r.t.Fatal(err)
		}
	}
	return stop
}

// A waitingLine is sessions of which few have a place, and the others wait in the order of their numbers.
type waitingLine struct {
	r    *upgradesRig
	all  []*dialogue
	seat int // how many have, or have had, a place
}

func (r *upgradesRig) openLine() *waitingLine {
	r.t.Helper()
	l := &waitingLine{r: r, seat: r.plan.few}
	for i := range r.plan.few + r.plan.queued {
		c := r.open("tcp", r.values["few"], wantsPlace, uint32(i))
		s := &dialogue{Conn: c, kind: "few", id: uint32(i)}
		if l.all = append(l.all, s); i < l.seat {
			l.expect(s.sayAndHear())
			continue
		}
		if err := s.say(); err != nil { // it is heard at the end
			r.t.Fatal(err)
		}
		until(r.t, "the next one waits", func() error {
			for _, p := range r.answer().Pools {
				if p.Name == "few" && p.Waiting != i+1-l.seat {
					return fmt.Errorf("%d wait", p.Waiting)
				}
			}
			return nil
		})
	}
	return l
}

func (l *waitingLine) expect(err error) {
	l.r.t.Helper()
	if err != nil {
		l.r.t.Error(err)
	}
}

// leave ends one session after the other: each lets the next one in, who has waited for longest.
func (l *waitingLine) leave() {
	l.r.t.Helper()
	came := func() []uint32 {
		l.r.peers.mu.Lock()
		defer l.r.peers.mu.Unlock()
		return slices.Clone(l.r.peers.came)
	}
	for i, s := range l.all {
		if i >= l.r.plan.few {
			l.expect(s.hear())
		}
		l.expect(s.sayAndHear())
		l.expect(s.leave())
		if l.seat < len(l.all) {
			l.seat++
			until(l.r.t, "the next one gets a place", func() error {
				if n := len(came()); n != l.seat {
					return fmt.Errorf("%d have had one, want %d", n, l.seat)
				}
				return nil
			})
		}
	}
	order := came()
	if slices.Sort(order[:l.r.plan.few]); !slices.IsSorted(order) || len(order) != len(l.all) {
		l.r.t.Errorf("places were given in the order %v", order)
	}
}

// openStuck opens sessions whose connect to the server is under way.
func (r *upgradesRig) openStuck() (all []*dialogue) {
	r.t.Helper()
	for i := range uint32(r.plan.stuck) {
		s := &dialogue{Conn: r.open("tcp", r.values["stuck"], wantsEcho, i), kind: "stuck", id: i}
		if err := s.say(); err != nil {
			r.t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// unstick lets the server be there.
func (r *upgradesRig) unstick(all []*dialogue) {
	r.t.Helper()
	r.far.appear()
	for _, s := range all {
		if err := errors.Join(s.hear(), s.leave()); err != nil {
			r.t.Errorf("a session whose connect took long: %v", err)
		}
	}
}
