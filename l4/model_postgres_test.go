package l4

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"testing"
	"time"

	"sluice/l4/proxyheader"
	"sluice/pool"
	"sluice/sysutil"
)

// newestBackend is the backend of the only session there is, and any one when it has
// ended.
func (p *play) newestBackend() *pool.Backend {
	if s := p.newest(); s != nil && s.backend != nil {
		return s.backend
	}
	return p.pool.Backends()[0]
}

// TestRandomPostgresPlays is TestRandomPlays on a listener that reads first packets.
// Before the play backends fail, one after the other, and the session waits in the
// queue: nothing of that is to be seen in the bytes.
func TestRandomPostgresPlays(t *testing.T) {
	for seed := range uint64(70) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { postgresPlay(t, rand.New(rand.NewPCG(seed, 8)), 0) })
	}
}

func postgresPlay(t *testing.T, rnd *rand.Rand, moves int) {
	listeners, addresses := listenMany(t, 2)
	config := rigConfig{
		protocol: ProtocolPostgres, backends: addresses, queueMax: 2, retries: 20, peek: time.Hour,
		send: ProxyVersion(rnd.IntN(3)), dead: [2]time.Duration{time.Minute, time.Minute},
	}
	if rnd.IntN(2) == 0 {
		config.accept = accepting()
	}
	if rnd.IntN(2) == 0 {
		config.pipes = sysutil.NewPipeBudget(rnd.IntN(2), PipeSize)
	}
	p := &play{rig: newRig(t, config), rnd: rnd, buf: make([]byte, 256<<10), moves: moves}
	p.start(t, p.openPostgres(listeners, config.accept != nil))
}

// openPostgres opens a session, one way or another.
func (p *play) openPostgres(listeners []net.Listener, header bool) (ends [2]conn) {
	c := p.dial()
	out := p.headerFor(c, p.srv.listeners()[0].rules.Load().config.Target.SendProxy)
	if header {
		p.writeInPieces(c, []byte(lineTCP4))
		if out != nil {
			out = must(must(proxyheader.Outgoing(byte(p.srv.listeners()[0].rules.Load().config.Target.SendProxy), nil, source4,
				destination4)).Format())
		}
	}
	kind := p.rnd.IntN(4)
	request := [...][]byte{startup, startup, sslRequest, gssRequest}[kind]
	// The second is a login that goes on with whatever the play sends.
	answer := [...][]byte{loginAnswer(cancelKey(1, 32)), authenticationOK, []byte("S"), []byte("G")}[kind]
	p.writeInPieces(c, request)
	at := 0
	s := p.acceptFrom(listeners[at])
	for range p.rnd.IntN(6) {
		p.expect(s, slices.Concat(out, request))
		p.first[client] += uint64(len(out) + len(request))
		failures[p.rnd.IntN(6)].fail(p.rig, s)
		p.until("the slot is given back", func() bool { return p.pool.Backends()[at].Stats().Active == 0 })
		at = 1 - at
		// Both have failed by then, or this one was down: it returns.
		p.until("it waits or goes on", func() bool { state := p.newest().state; return state == stateWaiting || state == stateAnswering })
		p.pool.Backends()[1-at].SetUp(false)
		p.pool.Backends()[at].SetUp(false)
		p.pool.Backends()[at].SetUp(true)
		s = p.acceptFrom(listeners[at])
	}
	p.expect(s, slices.Concat(out, request))
	if p.rnd.IntN(2) == 0 {
		p.write(s, answer)
	} else {
		p.writeInPieces(s, answer)
	}
	p.expect(c, answer)
	p.first[client] += uint64(len(out) + len(request))
	p.first[server] += uint64(len(answer))
	return [2]conn{c, s}
}

// writeInPieces sends data in up to three parts, and lets the loop look in between.
func (p *play) writeInPieces(c conn, data []byte) {
	for len(data) > 0 {
		n := 1 + p.rnd.IntN(len(data))
		p.write(c, data[:n])
		data = data[n:]
		p.step()
		p.mayMove()
	}
}
