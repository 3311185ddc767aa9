package e2e

// resets are cuts by one side. The other one is looked at.
var resets = []scenario{
	{name: "the client resets before it has sent anything",
		client: func(c *peer) { c.receive(1); c.reset() },
		server: func(s *peer) { s.send(1); s.receive(seeEnd) }},
	{name: "the client resets after its request",
		client: func(c *peer) { c.send(kib); c.untilTaken(kib); c.reset() },
		server: func(s *peer) { s.receive(seeEnd) }},
	{name: "the client resets in mid-upload", cut: true,
		client: func(c *peer) {
			c.both(func() { c.send(8 * mib) }, func() { c.untilTaken(64 * kib); c.reset() })
		},
		server: func(s *peer) { s.receive(seeEnd) }},
	{name: "the client resets in mid-download",
		client: func(c *peer) { c.receive(64 * kib); c.reset() },
		server: func(s *peer) { s.both(func() { s.send(8 * mib) }, func() { s.receive(seeEnd) }) }},
	{name: "the client resets after its FIN",
		client: func(c *peer) { c.send(kib); c.finish(); c.untilEndSeen(); c.reset() },
		server: func(s *peer) { s.receive(seeEnd); s.sendUntilFailure() }},
	{name: "the server resets before it has sent anything",
		client: func(c *peer) { c.send(1); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(1); s.reset() }},
	{name: "the server resets after its answer",
		client: func(c *peer) { c.send(kib); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(kib); s.send(kib); s.untilTaken(kib); s.reset() }},
	{name: "the server resets in mid-download", cut: true,
		client: func(c *peer) { c.receive(seeEnd) },
		server: func(s *peer) {
			s.both(func() { s.send(8 * mib) }, func() { s.untilTaken(64 * kib); s.reset() })
		}},
	{name: "the server resets in mid-upload",
		client: func(c *peer) { c.both(func() { c.send(8 * mib) }, func() { c.receive(seeEnd) }) },
		server: func(s *peer) { s.receive(64 * kib); s.reset() }},
	{name: "the server resets after its FIN",
		client: func(c *peer) { c.receive(seeEnd); c.sendUntilFailure() },
		server: func(s *peer) { s.send(kib); s.finish(); s.untilEndSeen(); s.reset() }},
}

// unread are closes while the other side sends, or has sent what is not read.
var unread = []scenario{
	{name: "the client closes with 64 KiB unread",
		client: func(c *peer) { c.receive(kib); c.untilSent(64 * kib); c.close() },
		server: func(s *peer) { s.send(64 * kib); s.receive(seeEnd) }},
	{name: "the server closes with 64 KiB unread",
		client: func(c *peer) { c.send(64 * kib); c.receive(seeEnd) },
		server: func(s *peer) { s.receive(kib); s.untilSent(64 * kib); s.close() }},
	{name: "the server answers early and closes with an upload unread",
		client: func(c *peer) { c.both(func() { c.send(8 * mib) }, func() { c.receive(seeEnd) }) },
		server: func(s *peer) { s.receive(kib); s.send(kib); s.close() }},
	{name: "the client closes and is sent an answer",
		client: func(c *peer) { c.send(kib); c.close() },
		server: func(s *peer) { s.receive(seeEnd); s.sendUntilFailure() }},
	{name: "the server closes and is sent more",
		client: func(c *peer) { c.send(kib); c.receive(seeEnd); c.sendUntilFailure() },
		server: func(s *peer) { s.receive(kib); s.close() }},
}
