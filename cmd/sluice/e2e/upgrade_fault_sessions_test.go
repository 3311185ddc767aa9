package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// lateAnswers is a server that reads all that a client says, and says it again once it may.
type lateAnswers struct {
	address string
	gates   sync.Map // channels that are closed, by what was said
}

func startLateAnswers(t *testing.T) *lateAnswers {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	s := &lateAnswers{address: l.Addr().String()}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				text, err := io.ReadAll(c)
				if err != nil {
					return // its session has died; the client says whether it may
				}
				select {
				case <-s.gate(string(text)):
				case <-t.Context().Done():
				}
				_, _ = c.Write(text) // the client says what is missing
			}()
		}
	}()
	return s
}

func (s *lateAnswers) gate(text string) chan struct{} {
	gate, _ := s.gates.LoadOrStore(text, make(chan struct{}))
	return gate.(chan struct{})
}

// A guest is one session beneath a fault.
type guest struct {
	conn  net.Conn
	words atomic.Int64
	over  chan struct{} // closed when nothing more is said
	err   error         // nil: all was as it should be
}

// errWrong is what must not happen to a session even when its process is killed.
var errWrong = errors.New("wrong bytes")

// say says a word and expects it back.
func (v *guest) say(word string) error {
	_ = v.conn.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(v.conn, word); err != nil {
		return err
	}
	got := make([]byte, len(word))
	if n, err := io.ReadFull(v.conn, got); err != nil {
		return fmt.Errorf("%q of %q came back: %w", got[:n], word, err)
	}
	if string(got) != word {
		return fmt.Errorf("%w: %q came back of %q", errWrong, got, word)
	}
	v.words.Add(1)
	return nil
}

// cut reports whether an error is what the end of a process does to a connection.
func cut(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// guests are sessions of all kinds.
type guests struct {
	f       *faulty
	talkers []*guest
	leave   chan struct{} // closed: the talkers say no more
	halves  []*guest
	holders []*guest // have the places of the listener few
	queued  *guest   // waits for one

	dead int
}

const (
	faultTalkers, faultHalves = 12, 3
	faultSessions             = faultTalkers + faultHalves + 3
)

// invite opens them, and waits until sluice has them all.
func (f *faulty) invite(name string) *guests {
	t, v := f.t, &guests{f: f, leave: make(chan struct{})}
	t.Helper()
	for i := range faultTalkers {
		k := &guest{conn: served(t, "127.0.0.1", f.address("all"), ""), over: make(chan struct{})}
		v.talkers = append(v.talkers, k)
		go k.talk(fmt.Sprintf("talker %d", i), v.leave)
	}
	for i := range faultHalves {
		text := fmt.Sprintf("%s, request %d", name, i)
		k := &guest{conn: halfClosed(t, f.address("late"), text), over: make(chan struct{})}
		v.halves = append(v.halves, k)
		go k.hear(text)
	}
	for range 2 {
		k := &guest{conn: f.dialFew()}
		if err := k.say("hold"); err != nil {
			t.Fatal(err)
		}
		v.holders = append(v.holders, k)
	}
	v.queued = &guest{conn: f.dialFew(), over: make(chan struct{})}
	go func() {
		defer close(v.queued.over)
		v.queued.err = v.queued.say("at last")
	}()
	f.untilSessions(faultSessions, 2)
	return v
}

// talk says words, one after the other.
func (v *guest) talk(name string, leave <-chan struct{}) {
	defer close(v.over)
	for n := 0; v.err == nil; n++ {
		select {
		case <-leave:
			return
		case <-time.After(time.Millisecond): // others need the CPU too
		}
		v.err = v.say(fmt.Sprintf("%s, word %d", name, n))
	}
}

// hear expects the answer to all that was said.
func (v *guest) hear(want string) {
	defer close(v.over)
	_ = v.conn.SetDeadline(time.Now().Add(2 * patient))
	text, err := io.ReadAll(v.conn)
	if v.err = err; err == nil && string(text) != want {
		v.err = fmt.Errorf("%w: %q came, want %q", errWrong, text, want)
		if len(text) == 0 {
			v.err = io.EOF
		}
	}
}

func (v *guest) isOver() bool {
	select {
	case <-v.over:
		return true
	default:
		return false
	}
}

// goOn checks that every session goes on, or was cut, and counts these anew.
func (v *guests) goOn() {
	t := v.f.t
	t.Helper()
	v.dead = 0
	for i, k := range v.talkers {
		from := k.words.Load()
		until(t, fmt.Sprintf("talker %d goes on", i), func() error {
			if !k.isOver() && k.words.Load() < from+3 {
				return errors.New("nothing comes back")
			}
			return nil
		})
		v.count(fmt.Sprintf("talker %d", i), k)
	}
	for i, k := range v.holders {
		if k.err == nil {
			k.err = k.say("go on")
		}
		if k.over = make(chan struct{}); k.err != nil {
			close(k.over)
		}
		v.count(fmt.Sprintf("holder %d", i), k)
	}
	for i, k := range append(v.halves, v.queued) {
		v.count(fmt.Sprintf("waiting %d", i), k)
	}
}

// count counts a session if it is dead.
func (v *guests) count(name string, k *guest) {
	v.f.t.Helper()
	switch {
	case !k.isOver(), k.err == nil: // who waits may have got the place of one that was cut
	case cut(k.err):
		v.dead++
	default:
		v.f.t.Errorf("%s: %v", name, k.err)
	}
}

// end lets all sessions that live come to their ends. No more may be cut.
func (v *guests) end(name string) {
	t, dead := v.f.t, v.dead
	t.Helper()
	close(v.leave)
	for i := range v.halves {
		close(v.f.late.gate(fmt.Sprintf("%s, request %d", name, i)))
	}
	for _, k := range v.holders { // the first that goes lets the one in that waits
		k.conn.Close()
	}
	late := 0
	for i, k := range append(append(v.talkers, v.halves...), v.queued) {
		until(t, fmt.Sprintf("session %d ends", i), func() error {
			if !k.isOver() {
				return errors.New("it does not")
			}
			return nil
		})
		if k.err != nil {
			late++
		}
		if k.err != nil && !cut(k.err) {
			t.Errorf("session %d: %v", i, k.err)
		}
		k.conn.Close()
	}
	for _, k := range v.holders {
		if k.err != nil {
			late++
		}
	}
	if late != dead {
		t.Errorf("%d sessions were cut in the end, and %d before", late, dead)
	}
}
