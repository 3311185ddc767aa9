package l4

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"

	"sluice/sysutil"
)

// A peer is one end of a session in the hands of a test that does anything.
type peer struct {
	conn
	sent, got int  // positions in the streams of this side and of the other
	finished  bool // it has sent FIN
	urgent    bool // it has sent urgent data: once, for a second would lie in the stream
	over      bool // it has read to the FIN of the other side
	broken    error
}

// theStream is what both sides send, from different positions on.
var theStream = random(42, 8<<20)

func streamOf(side side, from, n int) []byte {
	from += int(side) * 1_000_003
	return theStream[from : from+n]
}

// A play is one session with random acts on both sides.
type play struct {
	*rig
	rnd   *rand.Rand
	peers [2]peer
	first [2]uint64 // bytes that each side had sent when the play began
	moves int       // one act in so many is that all goes to another server, or back; 0 = none is
	buf   []byte
}

// TestRandomPlays lets both sides write, read, stall, finish and reset in random
// order while the loop is stepped in between. Whatever they do: what arrives is
// what was sent, in order; a FIN comes after the last byte and never in place of
// it; a reset becomes a reset.
func TestRandomPlays(t *testing.T) {
	once := func(seed uint64) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { playOnce(t, rand.New(rand.NewPCG(seed, 7))) })
	}
	for seed := range uint64(150) {
		once(seed)
	}
	once(870)  // a reset before a FIN without data is acknowledged
	once(1121) // a reset after both have finished, and the server has sent nothing
	once(1422)
}

func playOnce(t *testing.T, rnd *rand.Rand) {
	config := rigConfig{}
	if rnd.IntN(2) == 0 {
		config.pipes = sysutil.NewPipeBudget(rnd.IntN(2), PipeSize)
	}
	p := &play{rig: newRig(t, config), rnd: rnd, buf: make([]byte, 256<<10)}
	p.start(t, p.pair())
}

// start plays with the ends of a session.
func (p *play) start(t *testing.T, ends [2]conn) {
	rnd := p.rnd
	p.peers = [2]peer{{conn: ends[client]}, {conn: ends[server]}}
	if rnd.IntN(2) == 0 {
		p.smallBuffers(ends)
	}
	if rnd.IntN(4) == 0 {
		p.newest().halves[rnd.IntN(2)].streak = streakLimit
	}
	p.run(t)
}

// run plays, and then checks the end.
func (p *play) run(t *testing.T) {
	restore := func() {}
	defer func() { restore() }()
	for range 80 {
		p.mayMove()
		near := side(p.rnd.IntN(2))
		switch p.rnd.IntN(40) {
		default:
			p.send(near)
		case 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26:
			p.receive(t, near)
		case 27, 28, 29, 30, 31, 32, 33, 34, 35, 36:
			p.step()
		case 37:
			p.srv.Redispatch(p.newestBackend()) // no business of a session that relays
			if p.rnd.IntN(4) == 0 {
				restore = sysutil.RefuseSplice(syscall.EINVAL)
			}
		case 38:
			if near := &p.peers[near]; p.rnd.IntN(2) == 0 && !near.finished {
				near.CloseWrite()
				near.finished = true
			} else if !near.finished && !near.urgent {
				err := trySendUrgent(near.conn)
				if near.urgent = err == nil; err != nil && err != syscall.EAGAIN {
					t.Fatal(err)
				}
			}
		case 39:
			if p.rnd.IntN(3) == 0 {
				p.finishWithReset(t, near)
				return
			}
		}
	}
	p.finish(t)
}

// mayMove hands the session over now and then.
func (p *play) mayMove() {
	if p.moves > 0 && p.rnd.IntN(p.moves) == 0 {
		p.move(p.rnd)
	}
}

func (p *play) send(side side) {
	near := &p.peers[side]
	size := 1 + p.rnd.IntN(1<<(4+p.rnd.IntN(14)))
	if near.finished || near.sent+size > 4<<20 {
		return
	}
	near.sent += trySend(near.conn, streamOf(side, near.sent, size))
}

// receive reads once and compares.
func (p *play) receive(t *testing.T, side side) {
	near, far := &p.peers[side], &p.peers[side.other()]
	if near.over || near.broken != nil {
		return
	}
	n, err := receiveNow(near.conn, p.buf[:1+p.rnd.IntN(len(p.buf))])
	if n > 0 && (near.got+n > far.sent || !bytes.Equal(p.buf[:n], streamOf(side.other(), near.got, n))) {
		t.Fatalf("side %d: %d bytes at %d of %d are not what was sent", side, n, near.got, far.sent)
	}
	near.got += n
	switch {
	case n == 0 && err == nil:
		near.over = true
		if !far.finished || near.got != far.sent {
			t.Fatalf("side %d read a FIN after %d bytes; %d were sent, FIN sent: %v", side, near.got, far.sent, far.finished)
		}
	case err != nil && !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
		near.broken = err
	}
}

// finish lets both sides finish and reads everything.
func (p *play) finish(t *testing.T) {
	for i := range p.peers {
		if near := &p.peers[i]; !near.finished {
			near.CloseWrite()
			near.finished = true
		}
	}
	p.until("both sides read to the end", func() bool {
		p.receive(t, client)
		p.receive(t, server)
		return (p.peers[client].over && p.peers[server].over) || p.peers[client].broken != nil || p.peers[server].broken != nil
	})
	p.until("the session ends", func() bool { return len(p.ended) == 1 })
	end := p.ended[0]
	sent, received := p.first[client]+uint64(p.peers[client].sent), p.first[server]+uint64(p.peers[server].sent)
	if !end.Reason.Clean() || end.Sent != sent || end.Received != received {
		t.Errorf("ended with %+v, want a clean end after %d and %d bytes; %v, %v", end,
			sent, received, p.peers[client].broken, p.peers[server].broken)
	}
	for _, pool := range p.everyPool() {
		for _, b := range pool.Backends() {
			stats := b.Stats()
			sent, received = sent-stats.Sent, received-stats.Received
		}
	}
	if sent != 0 || received != 0 {
		t.Errorf("the session's backends have counted %d and %d bytes less than it", int64(sent), int64(received))
	}
}

// mayBeClean reports whether a session ends cleanly that a side resets: somebody had said all there was to say, or
// the client nothing at all, nor had it got anything.
func (p *play) mayBeClean(side side, end End) bool {
	silent := p.peers[client].sent+int(p.first[client])+int(end.Received) == 0
	switch end.Reason {
	case ServerClosed:
		return p.peers[server].finished
	case ClientClosed:
		postgres := p.srv.listeners()[0].rules.Load().config.Protocol == ProtocolPostgres
		over := p.peers[server].finished || postgres || end.Received > 0 // or the client may still wait for its answer
		return side == client && silent || p.peers[client].finished && (side == client || over)
	}
	return false
}

// finishWithReset lets one side reset; the other must see that, unless both had
// finished before.
func (p *play) finishWithReset(t *testing.T, side side) {
	far := &p.peers[side.other()]
	reset(p.peers[side].conn)
	p.until("the session ends", func() bool {
		p.receive(t, side.other())
		p.now += tick // until it has all, see awaits
		return len(p.ended) == 1
	})
	end := p.ended[0]
	if end.Reason != resetBy(side) && !(end.Reason.Clean() && p.mayBeClean(side, end)) {
		t.Fatalf("ended with %+v, want %v", end, resetBy(side))
	}
	for !far.over && far.broken == nil {
		p.receive(t, side.other())
	}
	if far.broken == nil && !p.peers[side].finished {
		t.Error("the other side read a FIN, want a reset")
	}
}
