package handoff

import "net"

// Hook is nil but in tests. It is called, on the goroutine that sends or receives on c, at these points, each with the name
// of the message: before one is sent ("send batch"), with a part of it in the kernel ("sending batch"), and once all of it is
// ("sent batch"); before one is waited for ("receive ack", with " or " between several; "receive" if any will do), and
// with all of it here ("received ack").
var Hook func(c *net.UnixConn, point string)

func (c *Conn) point(verb string, kinds ...Kind) {
	if Hook == nil {
		return
	}
	for i, k := range kinds {
		if i > 0 {
			verb += " or"
		}
		verb += " " + k.String()
	}
	Hook(c.c, verb)
}
