package load

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// A Work is what the sessions of a flow do.
type Work uint8

// The kinds of work.
const (
	// Exchange: request and reply of Size bytes, one at a time, for ever.
	Exchange Work = iota
	// Connect: connect, one exchange, close (the client first), again.
	Connect
	// Refused: connect, send nothing, be reset or closed without a byte, again.
	Refused
	// Hold: connect, one exchange, then keep the session idle.
	Hold
	// Download: receive a stream. Upload: send one.
	Download
	Upload
)

// A Flow is a number of sessions that do the same. It has event loops of its
// own, so that a bulk flow does not delay the generator's side of a small one.
type Flow struct {
	Work     Work
	Sessions int
	Size     int // of a message, 16 to MaxMessage; streams and hellos ignore it
	Loops    int // event loops; 0 means 1
	// ServerName makes the message of a Connect flow a TLS ClientHello for that
	// name, which the backend sends back as it came; "" means no TLS.
	ServerName string
	// Limit ends the measurement when a Connect flow has made this many
	// connections, the ones before it began included; 0 means no limit.
	Limit int
	// Pause is how long a session of an Exchange flow rests after each reply; 0 means not at all. With it, a system
	// that answers sooner is hardly asked more often.
	Pause time.Duration
}

// A Plan is one measurement. It begins when every session has had its first answer and the warm-up is over.
type Plan struct {
	Target  netip.AddrPort
	Flows   []Flow
	Sources int           // client addresses to connect from, up to 200; 0 leaves the choice to the kernel
	Warmup  time.Duration // after the first answers
	// Duration is the length of the measurement; 0 ends it when Begin returns.
	Duration time.Duration
	// Patience bounds the wait for the first answers, and for outstanding ones at the end; 0 means 10 s.
	Patience time.Duration
	// Begin and End, unless nil, are called at the edges of the measurement
	// while the load runs, to sample the system under test.
	Begin, End func() error
}

// A Report is the result of a plan. Everything counts the measurement only, not the warm-up.
type Report struct {
	Elapsed time.Duration
	Flows   []FlowReport // in the order of the plan
}

// A FlowReport is the result of one flow.
type FlowReport struct {
	Replies uint64    // complete exchanges; of Refused: connections
	Bytes   uint64    // of a stream: moved
	Latency Histogram // of an exchange; of Connect and Refused from connect(2) to the end
}

const defaultPatience = 10 * time.Second

func (p *Plan) validate() error {
	if len(p.Flows) == 0 {
		return errors.New("no flow")
	}
	if p.Sources < 0 || p.Sources > 200 {
		return fmt.Errorf("%d sources: must be 0 to 200", p.Sources)
	}
	if p.Sources > 0 && !p.Target.Addr().Is4() {
		return fmt.Errorf("sources with target %v: must be IPv4", p.Target)
	}
	for i, f := range p.Flows {
		if f.Sessions < 1 {
			return fmt.Errorf("flow %d: %d sessions: must be positive", i, f.Sessions)
		}
		if f.Pause < 0 || f.Pause > 0 && f.Work != Exchange {
			return fmt.Errorf("flow %d: pause %v: must be positive, and goes with Exchange only", i, f.Pause)
		}
		if f.ServerName != "" && f.Work != Connect {
			return fmt.Errorf("flow %d: server name %q: goes with Connect only", i, f.ServerName)
		}
		if f.sized() && (f.Size < headSize || f.Size > MaxMessage) {
			return fmt.Errorf("flow %d: size %d: must be %d to %d", i, f.Size, headSize, MaxMessage)
		}
	}
	return nil
}

func (f *Flow) stream() bool { return f.Work == Download || f.Work == Upload }

// sized reports whether Size says how long the flow's messages are.
func (f *Flow) sized() bool { return !f.stream() && f.Work != Refused && f.ServerName == "" }

// brief reports whether each session is a connection after the other.
func (f *Flow) brief() bool { return f.Work == Connect || f.Work == Refused }

// op is the work as the head of the flow's sessions names it.
func (f *Flow) op() byte {
	switch f.Work {
	case Download:
		return opDownload
	case Upload:
		return opUpload
	}
	return opExchange
}

// message returns what a session of the flow sends; the head is filled in for each use.
func (f *Flow) message() ([]byte, error) {
	switch {
	case f.ServerName != "":
		return clientHello(f.ServerName)
	case f.sized():
		return message(f.Size), nil
	}
	return message(headSize), nil
}
