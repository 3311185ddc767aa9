package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	talkers  = 100 // sessions that talk beside a stream
	talkSize = 200 // bytes of a request, and of its reply
)

// A talk is what one talker has done.
type talk struct {
	replies int
	slowest time.Duration
	err     error
}

// talks is what all talkers have done.
type talks struct {
	done sync.WaitGroup
	all  [talkers]talk
}

// startTalkers opens sessions that ask and wait for the reply, all the time, until it is over.
func startTalkers(address string, over *atomic.Bool) *talks {
	t := new(talks)
	for i := range t.all {
		t.done.Go(func() { t.all[i].run(address, uint64(i), over) })
	}
	return t
}

func (k *talk) run(address string, id uint64, over *atomic.Bool) {
	c, err := net.Dial("tcp", address)
	if err != nil {
		k.err = err
		return
	}
	defer c.Close()
	if _, k.err = c.Write([]byte{kindTalk}); k.err != nil {
		return
	}
	request, answer := make([]byte, talkSize), make([]byte, talkSize)
	for !over.Load() {
		binary.BigEndian.PutUint64(request, id)
		binary.BigEndian.PutUint64(request[8:], uint64(k.replies))
		if k.err = k.ask(c, request, answer); k.err != nil {
			return
		}
	}
}

// ask sends a request, and returns an error unless it is answered by the reply to it.
func (k *talk) ask(c net.Conn, request, answer []byte) error {
	began := time.Now()
	c.SetDeadline(began.Add(patient))
	if _, err := c.Write(request); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	reply(answer)
	if !bytes.Equal(answer, request) {
		return errors.New("the reply is not to the request")
	}
	k.replies++
	k.slowest = max(k.slowest, time.Since(began))
	return nil
}

// expectNoErrors waits until all talkers have stopped, and checks that each was answered every time. It returns the
// number of replies, and how long the slowest one took.
func (k *talks) expectNoErrors(t *testing.T) (replies int, slowest time.Duration) {
	t.Helper()
	k.done.Wait()
	for i, talk := range k.all {
		if talk.err != nil || talk.replies < 10 {
			t.Errorf("talker %d had %d replies and then %v", i, talk.replies, talk.err)
		}
		replies += talk.replies
		slowest = max(slowest, talk.slowest)
	}
	return replies, slowest
}
