package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/bench/subject"
)

// pace is from one change to the next.
const pace = time.Second

// A bed is a sluice with a file of backends.
type bed struct {
	*subject.Sluice
	list    string // path of the file
	port    uint16
	count   int // of backends
	changes int // made so far
	found   chan struct{}
}

// config has a pool for the session, and one of backends that are checked once.
const config = `
listeners:
  ping: {bind: "127.0.0.1:0", pool: ping}
pools:
  ping: {check: {type: "off"}, backends: [{name: ping, address: "127.0.0.1:%d"}]}
  many: {check: {interval: 1h}, discover: {file: %q}}
`

func startBed(program, dir string, port uint16, count int) (*bed, error) {
	b := &bed{list: filepath.Join(dir, "many.json"), port: port, count: count, found: make(chan struct{}, 1)}
	if err := b.write(); err != nil {
		return nil, err
	}
	var err error
	if b.Sluice, err = subject.Start(program, dir, fmt.Sprintf(config, port, b.list), b.hear); err != nil {
		return nil, err
	}
	if err = b.await(); err == nil {
		err = b.settle()
	}
	if err != nil {
		b.Stop()
		return nil, err
	}
	return b, nil
}

// settle waits until sluice has nothing to do: the first checks of so many backends take their time.
func (b *bed) settle() error {
	for range 60 {
		used, err := b.used(time.Second)
		if err != nil {
			return err
		}
		if used < 20*time.Millisecond {
			return nil
		}
	}
	return errors.New("sluice does not come to rest in a minute")
}

// hear notes that the file has another list.
func (b *bed) hear(line string) {
	switch {
	case strings.Contains(line, `msg="source has answered"`), strings.Contains(line, `msg="source has another answer"`):
		select {
		case b.found <- struct{}{}:
		default:
		}
	case strings.Contains(line, `msg="source does not answer"`):
		fmt.Fprintln(os.Stderr, line)
	}
}

// await waits until sluice has read the file.
func (b *bed) await() error {
	select {
	case <-b.found:
		return nil
	case <-time.After(10 * time.Second):
		return errors.New("sluice has not seen the file change in 10 seconds")
	}
}

// write lists the backends: the first of them is a new one after each change.
func (b *bed) write() error {
	text := []byte("[")
	for n := range b.count {
		if n == 0 {
			text = fmt.Appendf(text, `{"address": "127.2.%d.%d:%d"}`, b.changes/250, b.changes%250+1, b.port)
		} else {
			text = fmt.Appendf(text, `, {"address": "127.1.%d.%d:%d"}`, n/250, n%250+1, b.port)
		}
	}
	next := b.list + ".next"
	if err := os.WriteFile(next, append(text, ']'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, b.list)
}

// change changes the list all the time until stop, or does not.
func (b *bed) change(changing bool) (stop func() error) {
	if !changing {
		return func() error { return nil }
	}
	over, done := make(chan struct{}), make(chan error, 1)
	go func() {
		ticks := time.NewTicker(pace)
		defer ticks.Stop()
		for {
			b.changes++
			err := b.write()
			if err == nil {
				err = b.await()
			}
			if err != nil {
				done <- err
				return
			}
			select {
			case <-over:
				done <- nil
				return
			case <-ticks.C:
			}
		}
	}()
	return func() error {
		close(over)
		return <-done
	}
}
