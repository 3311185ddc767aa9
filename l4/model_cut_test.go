package l4

import (
	"fmt"
	"math/rand/v2"
	"net"
	"syscall"
	"testing"
	"time"

	"sluice/sysutil"
)

// What a side has sent before its FIN reaches the other one, whatever becomes of the
// session once the FIN was seen, and whatever both do then: the session is cut, by a
// backend that goes down or by the end of the process, or the side is gone.
func TestRandomCuts(t *testing.T) {
	for seed := range uint64(150) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 11))
			p := &play{rig: newRig(t, rigConfig{fin: time.Hour}), rnd: rnd, buf: make([]byte, 256<<10)}
			if rnd.IntN(2) == 0 {
				p.loop.pipes = sysutil.NewPipePool(sysutil.NewPipeBudget(rnd.IntN(2), PipeSize))
			}
			p.cutOnce(t)
		})
	}
}

func (p *play) cutOnce(t *testing.T) {
	ends := p.pair()
	p.peers = [2]peer{{conn: ends[client]}, {conn: ends[server]}}
	if p.rnd.IntN(4) > 0 {
		p.smallBuffers(ends)
	}
	near := side(p.rnd.IntN(2))
	p.acts(t, near, 60)
	if !p.peers[near].finished {
		p.peers[near].CloseWrite()
		p.peers[near].finished = true
	}
	p.turns(p.rnd.IntN(3))
	s := p.newest()
	if s == nil { // both have finished
		return
	}
	finished, late := [2]bool{s.sentFIN(client), s.sentFIN(server)}, 20
	switch p.rnd.IntN(4) {
	case 0:
		if owed, _ := sysutil.Owed(descriptor(p.peers[near].conn)); owed != 0 || !finished[near] {
			return
		}
		p.peers[near].Close() // sluice has all of it, the FIN too
		p.peers[near].broken = net.ErrClosed
		p.sendOn(near.other())
	case 1:
		p.loop.cutOff(s, Shutdown)
		late = 0 // the kernel has the rest: who sends more now makes it reset the connection
	default:
		p.loop.cutOff(s, []Reason{BackendDown, Drained, Killed}[p.rnd.IntN(3)])
	}
	p.acts(t, near, late)
	p.expectRest(t, finished)
}

// acts lets both sides do anything but reset. The one that hears the other one finish
// reads less than that sends.
func (p *play) acts(t *testing.T, talker side, n int) {
	for range n {
		p.mayMove()
		switch near := side(p.rnd.IntN(2)); p.rnd.IntN(20) {
		default:
			p.sendOn(near)
		case 8, 9, 10, 11, 12:
			if near == talker || p.rnd.IntN(8) == 0 {
				p.receive(t, near)
			}
		case 13, 14, 15, 16, 17, 18:
			p.step()
		case 19:
			if peer := &p.peers[near]; !peer.finished && peer.broken == nil && p.rnd.IntN(3) == 0 {
				peer.CloseWrite()
				peer.finished = true
			}
		}
	}
}

// sendOn is send for a side that may be gone, or be told by it that its session is: then
// no read tells any more.
func (p *play) sendOn(side side) {
	near := &p.peers[side]
	if near.finished || near.broken != nil || near.sent > 2<<20 {
		return
	}
	n, err := sendNow(near.conn, streamOf(side, near.sent, 1+p.rnd.IntN(1<<(4+p.rnd.IntN(14)))))
	if near.sent += n; err != nil && err != syscall.EAGAIN {
		near.broken = err
		p.readAfter(side)
	}
}

// readAfter reads what had come before a write found the connection of a side reset.
func (p *play) readAfter(side side) {
	near := &p.peers[side]
	for n := 1; n > 0; near.got += max(n, 0) {
		n, _ = receiveNow(near.conn, p.buf)
	}
}

// expectRest reads all there is to read. Meanwhile time goes by.
func (p *play) expectRest(t *testing.T, finished [2]bool) {
	over := func(side side) bool { return p.peers[side].over || p.peers[side].broken != nil }
	p.until("both sides read to the end", func() bool {
		p.receive(t, client)
		p.receive(t, server)
		p.now += tick
		return over(client) && over(server)
	})
	p.until("the session ends", func() bool { p.now += tick; return len(p.ended) == 1 })
	for _, near := range [...]side{client, server} {
		far := &p.peers[near.other()]
		if finished[near] && far.broken != net.ErrClosed && (!far.over && far.broken != syscall.EPIPE || far.got != p.peers[near].sent) {
			t.Errorf("side %d has got %d of %d bytes and then %v, want all and a FIN; %+v", near.other(),
				far.got, p.peers[near].sent, far.broken, p.ended[0])
		}
	}
	switch p.ended[0].Reason {
	case ClientClosed, ServerClosed, BackendDown, Drained, Killed, Shutdown:
	default:
		t.Errorf("ended with %+v", p.ended[0])
	}
}
