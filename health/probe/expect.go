package probe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
)

// answerMost bounds what is searched for one step's answer.
const answerMost = 64 << 10

// expectProber sends bytes and compares what comes back.
type expectProber struct {
	transient
	dialer *dialer
	tls    *tlsClient // nil = in clear
	steps  []Step
}

func newExpectProber(c Config, d *dialer) (Prober, error) {
	if len(c.Steps) == 0 {
		return nil, errors.New("check without steps: nothing would be asked")
	}
	for i, s := range c.Steps {
		if len(s.Send) == 0 && !s.expects() {
			return nil, fmt.Errorf("step %d: nothing is sent and nothing expected", i+1)
		}
	}
	p := &expectProber{dialer: d, steps: c.Steps}
	if c.InTLS {
		var err error
		if p.tls, err = newTLSClient(c.TLS, d); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func (s Step) expects() bool { return len(s.Want) > 0 || s.Pattern != nil }

// Probe returns no error when every step gets its answer before ctx is done.
func (p *expectProber) Probe(ctx context.Context) (Answer, error) {
	ctx, cancel := finishing(ctx)
	defer cancel()
	conn, err := p.dialer.dialTLS(ctx, p.tls)
	if err != nil {
		return Answer{}, err
	}
	defer part(ctx, conn)
	defer cutAt(ctx, conn)()
	d := dialog{conn: conn}
	for i, s := range p.steps {
		if err := d.step(ctx, s); err != nil {
			return Answer{}, fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return Answer{}, nil
}

// dialog is one run through the steps.
type dialog struct {
	conn net.Conn
	got  []byte // received and not matched yet
}

func (d *dialog) step(ctx context.Context, s Step) error {
	nextQuestion(d.conn)
	if len(s.Send) > 0 {
		d.got = d.got[:0] // what came before cannot be the answer
		if _, err := d.conn.Write(s.Send); err != nil {
			return fmt.Errorf("send: %w", plainly(ctx, err))
		}
	} else if err := sendPrefix(d.conn); err != nil { // the server speaks first
		return fmt.Errorf("send PROXY header: %w", plainly(ctx, err))
	}
	if !s.expects() {
		return nil
	}
	return d.await(ctx, s)
}

// await reads until there is what a step wants. What follows that is left to the next step.
func (d *dialog) await(ctx context.Context, s Step) error {
	buffer := make([]byte, 4<<10)
	for {
		if end := s.match(d.got); end >= 0 {
			d.got = d.got[end:]
			return nil
		}
		if len(d.got) >= answerMost {
			return fmt.Errorf("got %s and more, want %s", quoted(d.got), s.wanted())
		}
		n, err := d.conn.Read(buffer[:min(len(buffer), answerMost-len(d.got))])
		d.got = append(d.got, buffer[:n]...)
		if n == 0 && err != nil {
			return fmt.Errorf("%w: got %s, want %s", plainly(ctx, err), quoted(d.got), s.wanted())
		}
	}
}

// match returns where in the bytes the step's answer ends, or -1 when it is not there.
func (s Step) match(got []byte) int {
	if s.Pattern != nil {
		if at := s.Pattern.FindIndex(got); at != nil {
			return at[1]
		}
		return -1
	}
	if at := bytes.Index(got, s.Want); at >= 0 {
		return at + len(s.Want)
	}
	return -1
}

func (s Step) wanted() string {
	if s.Pattern != nil {
		return "a match of " + quoted([]byte(s.Pattern.String()))
	}
	return quoted(s.Want)
}
