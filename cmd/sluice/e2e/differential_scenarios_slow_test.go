package e2e

import "time"

const (
	slow      = 60 * kib // bytes a second
	slowBytes = slow * int64(slowFor/time.Second)
	// lastRate and lastBytes are for a server that exits: so much every balancer takes at once. What it has no room for
	// stays in the server's kernel, and behind it the FIN, and nobody can know that there is one.
	lastRate  = 20 * kib
	lastBytes = 100 * kib
)

// slowAndClosed are slow readers, with one thing after the other gone around them.
var slowAndClosed = []scenario{
	{name: "the client half-closes, then reads 60 KiB/s", slow: true,
		client: func(c *peer) { c.send(kib); c.finish(); c.receiveSlowly(seeEnd, slow) },
		server: func(s *peer) { s.receive(seeEnd); s.send(slowBytes); s.close() }},
	{name: "the server half-closes, then reads 60 KiB/s", slow: true,
		client: func(c *peer) { c.receive(seeEnd); c.send(slowBytes); c.close() },
		server: func(s *peer) { s.send(kib); s.finish(); s.receiveSlowly(seeEnd, slow) }},
	{name: "the client reads 60 KiB/s, the server half-closes", slow: true,
		client: func(c *peer) { c.receiveSlowly(seeEnd, slow); c.send(kib); c.close() },
		server: func(s *peer) { s.send(slowBytes); s.finish(); s.receive(seeEnd) }},
	{name: "the client reads 60 KiB/s, the server stays open", slow: true,
		client: func(c *peer) { c.receiveSlowly(slowBytes, slow); c.send(kib); c.close() },
		server: func(s *peer) { s.send(slowBytes); s.receive(seeEnd) }},
	{name: "the server reads 60 KiB/s, the client stays open", slow: true,
		client: func(c *peer) { c.send(slowBytes); c.receive(kib); c.close() },
		server: func(s *peer) { s.receiveSlowly(slowBytes, slow); s.send(kib); s.receive(seeEnd) }},
	{name: "the server reads 60 KiB/s, the client has closed", slow: true,
		client: func(c *peer) { c.send(slowBytes); c.close() },
		server: func(s *peer) { s.receiveSlowly(seeEnd, slow) }},
	{name: "both read 60 KiB/s at once", slow: true,
		client: func(c *peer) {
			c.both(func() { c.send(slowBytes); c.finish() }, func() { c.receiveSlowly(seeEnd, slow) })
		},
		server: func(s *peer) {
			s.both(func() { s.send(slowBytes); s.finish() }, func() { s.receiveSlowly(seeEnd, slow) })
		}},
	{name: "the client reads 20 KiB/s, the server exits", slow: true, exits: true,
		client: func(c *peer) { c.send(kib); c.receiveSlowly(seeEnd, lastRate) },
		server: func(s *peer) { s.receive(kib - 1); s.send(lastBytes); s.close() }},
	{name: "the client half-closes, reads 20 KiB/s, the server exits", slow: true, exits: true,
		client: func(c *peer) { c.send(kib); c.finish(); c.receiveSlowly(seeEnd, lastRate) },
		server: func(s *peer) { s.receive(seeEnd); s.send(lastBytes); s.close() }},
	{name: "the client reads 60 KiB/s, then resets", slow: true,
		client: func(c *peer) { c.receiveSlowly(slowBytes/4, slow); c.reset() },
		server: func(s *peer) { s.send(slowBytes); s.receive(seeEnd) }},
	{name: "the client reads 60 KiB/s, then resets; the server has half-closed", slow: true,
		client: func(c *peer) { c.receiveSlowly(slowBytes/4, slow); c.reset() },
		server: func(s *peer) { s.send(slowBytes); s.finish(); s.receive(seeEnd) }},
}

const aPause = wayTimeout / 3

// pauses are shorter than the timeouts, all together longer.
var pauses = []scenario{
	{name: "the client pauses in mid-download", slow: true,
		client: func(c *peer) {
			for range 4 {
				c.receive(256 * kib)
				c.pause(aPause)
			}
			c.receive(seeEnd)
		},
		server: func(s *peer) { s.send(4 * mib); s.close() }},
	{name: "the server pauses in mid-upload", slow: true,
		client: func(c *peer) { c.send(4 * mib); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) {
			for range 4 {
				s.receive(256 * kib)
				s.pause(aPause)
			}
			s.receive(seeEnd)
			s.send(kib)
		}},
	{name: "pauses between messages",
		client: func(c *peer) {
			for range 3 {
				c.send(kib)
				c.receive(kib)
				c.pause(aPause)
			}
			c.close()
		},
		server: func(s *peer) {
			for range 3 {
				s.receive(kib)
				s.pause(aPause)
				s.send(kib)
			}
			s.receive(seeEnd)
		}},
	{name: "a pause before each FIN",
		client: func(c *peer) { c.send(kib); c.pause(aPause); c.finish(); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(seeEnd); s.pause(aPause); s.send(kib); s.pause(aPause); s.close() }},
}
