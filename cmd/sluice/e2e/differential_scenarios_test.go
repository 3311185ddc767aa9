package e2e

import (
	"fmt"
	"slices"
	"time"
)

// A scenario is what a client and a server do on one connection. Each ends with closing it.
type scenario struct {
	name           string
	client, server func(*peer)
	cut            bool // bytes are on their way when it is cut: how many arrive is anybody's guess, and not compared
	slow           bool // a peer is slow: buffers and segments are those of a network, not of loopback
	exits          bool // the server's process ends with its script; the client sends first
}

const (
	kib = 1 << 10
	mib = 1 << 20
)

var scenarios = slices.Concat(ends, messages, slowScenarios(), slowAndClosed, pauses, resets, unread)

// ends are orderly, most of them with one direction open longer than the other.
var ends = []scenario{
	{name: "the client closes at once",
		client: func(c *peer) { c.close() },
		server: func(s *peer) { s.receive(seeEnd) }},
	{name: "the server closes at once",
		client: func(c *peer) { c.receive(seeEnd) },
		server: func(s *peer) { s.close() }},
	{name: "both send FIN at once, and nothing else",
		client: func(c *peer) { c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.finish(); s.receive(seeEnd) }},
	{name: "request, answer, the server closes",
		client: func(c *peer) { c.send(kib); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(kib); s.send(kib); s.close() }},
	{name: "request, answer, the client closes",
		client: func(c *peer) { c.send(kib); c.receive(kib); c.close() },
		server: func(s *peer) { s.receive(kib); s.send(kib); s.receive(seeEnd) }},
	{name: "the client half-closes, then is answered",
		client: func(c *peer) { c.send(64 * kib); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.send(64 * kib); s.close() }},
	{name: "the server half-closes, then is sent 512 KiB",
		client: func(c *peer) { c.receive(seeEnd); c.send(512 * kib); c.close() },
		server: func(s *peer) { s.send(kib); s.finish(); s.receive(seeEnd) }},
	{name: "the client half-closes, has sent nothing",
		client: func(c *peer) { c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.send(kib); s.close() }},
	{name: "the server half-closes, has sent nothing",
		client: func(c *peer) { c.receive(seeEnd); c.send(64 * kib); c.close() },
		server: func(s *peer) { s.finish(); s.receive(seeEnd) }},
	{name: "the client's FIN comes with its data",
		client: func(c *peer) { c.cork(); c.send(100); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.send(kib); s.close() }},
	{name: "the server's FIN comes with its data",
		client: func(c *peer) { c.receive(seeEnd) },
		server: func(s *peer) { s.cork(); s.send(100); s.close() }},
	{name: "both send 256 KiB and FIN at once",
		client: func(c *peer) { c.both(func() { c.send(256 * kib); c.finish() }, func() { c.receive(seeEnd) }) },
		server: func(s *peer) { s.both(func() { s.send(256 * kib); s.finish() }, func() { s.receive(seeEnd) }) }},
	{name: "the client half-closes in mid-download",
		client: func(c *peer) { c.receive(64 * kib); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.both(func() { s.send(2 * mib); s.finish() }, func() { s.receive(seeEnd) }) }},
	{name: "the server half-closes in mid-upload",
		client: func(c *peer) { c.both(func() { c.send(2 * mib); c.finish() }, func() { c.receive(seeEnd) }) },
		server: func(s *peer) { s.receive(64 * kib); s.finish(); s.receive(seeEnd) }},
	{name: "the server sends 8 MiB and closes",
		client: func(c *peer) { c.send(kib); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(kib); s.send(8 * mib); s.close() }},
	{name: "the client sends 8 MiB and closes",
		client: func(c *peer) { c.send(8 * mib); c.close() },
		server: func(s *peer) { s.receive(seeEnd) }},
}

// messages are small.
var messages = []scenario{
	{name: "200 requests and answers of 1 byte",
		client: func(c *peer) {
			for i := range int64(200) {
				c.send(1)
				c.receive(1)
				c.untilTaken(i + 1)
			}
			c.close()
		},
		server: func(s *peer) {
			for range 200 {
				s.receive(1)
				s.send(1)
			}
			s.receive(seeEnd)
		}},
	{name: "1,000 messages of 1 byte, one after the other",
		client: func(c *peer) { c.sendIn(1000, 1, 0); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.sendIn(1000, 1, 0); s.close() }},
	{name: "urgent data from the client in mid-stream",
		client: func(c *peer) { c.send(kib); c.sendUrgent(); c.send(kib); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.send(kib); s.close() }},
	{name: "urgent data from the server in mid-stream",
		client: func(c *peer) { c.send(kib); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(kib); s.send(kib); s.sendUrgent(); s.send(kib); s.close() }},
}

// slowFor is how long slow peers take.
const slowFor = 3 * wayTimeout

// slowScenarios has one peer that is slow, at three rates.
func slowScenarios() (list []scenario) {
	for _, rate := range []int64{20 * kib, 60 * kib, 300 * kib} {
		n := rate * int64(slowFor/time.Second)
		add := func(format string, client, server func(*peer)) {
			name := fmt.Sprintf(format, rate/kib)
			list = append(list, scenario{name: name, client: client, server: server, slow: true})
		}
		add("the client reads %d KiB/s, the server has closed",
			func(c *peer) { c.receiveSlowly(seeEnd, rate) },
			func(s *peer) { s.send(n); s.close() })
		add("the server reads %d KiB/s, the client has half-closed",
			func(c *peer) { c.send(n); c.finish(); c.receive(seeEnd) },
			func(s *peer) { s.receiveSlowly(seeEnd, rate); s.send(kib); s.close() })
		add("the server writes %d KiB/s",
			func(c *peer) { c.receive(seeEnd) },
			func(s *peer) { s.sendSlowly(n, rate); s.close() })
		add("the client writes %d KiB/s",
			func(c *peer) { c.sendSlowly(n, rate); c.finish(); c.receive(seeEnd) },
			func(s *peer) { s.receive(seeEnd); s.send(kib); s.close() })
	}
	return list
}
