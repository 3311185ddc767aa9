package main

import (
	"errors"
	"os"
	"sync"
	"time"
)

// errAsked is why a process does not follow that is asked to end meanwhile.
var errAsked = errors.New("a signal asks the new process to end")

// giveUp ends a take-over, if it is not too late: the process before goes on.
func (t *takeOver) giveUp() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.serves {
		t.asked = true
		_ = t.conn.SetDeadline(time.Unix(1, 0)) // long ago
	}
}

// unbind lets the other process take as long as it takes: it bounds that itself.
func (t *takeOver) unbind() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.asked {
		_ = t.conn.SetDeadline(time.Time{})
	}
}

// decide ends the time in which it can be given up.
func (t *takeOver) decide() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked {
		return errAsked
	}
	t.serves = true
	return nil
}

// explain says of an error of giveUp what it comes from.
func (t *takeOver) explain(err error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.asked && errors.Is(err, os.ErrDeadlineExceeded) {
		return errAsked
	}
	return err
}

// startHeeding is start. A signal that ends sluice gives a take-over up; it is returned, for it may have been too late. Those
// behind it have another meaning, and wait, as others do.
func (w *world) startHeeding(signals <-chan os.Signal) (ended os.Signal, err error) {
	t := w.from
	if t == nil {
		return nil, w.start()
	}
	over, heeding := make(chan struct{}), sync.WaitGroup{}
	var others []os.Signal
	heeding.Go(func() {
		for ended == nil {
			select {
			case s := <-signals:
				if !ends(s) {
					others = append(others, s)
					continue
				}
				w.log.Info("upgrade: a signal came", "signal", s.String())
				ended = s
				t.giveUp()
			case <-over:
				return
			}
		}
	})
	err = w.start()
	close(over)
	heeding.Wait()
	if err == nil {
		for _, s := range others {
			w.obey(s)
		}
	}
	return ended, err
}
