package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"

	miekg "github.com/miekg/dns"
)

// errLate is that of a server from which nothing has come in time. It alone is asked again.
var errLate = errors.New("no answer in time")

var errClosed = errors.New("connection closed without an answer")

// exchange sends a question to a server and returns its answer. It waits until ctx is done.
func exchange(ctx context.Context, network string, server netip.AddrPort, q question, edns bool) (*miekg.Msg, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, bare(ctx, err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	request := q.message(edns)
	// What does not keep to the size is read all the same.
	framed := &miekg.Conn{Conn: conn, UDPSize: 4096}
	if err := framed.WriteMsg(request); err != nil {
		return nil, bare(ctx, err)
	}
	for {
		packet, err := framed.ReadMsgHeader(nil)
		if err != nil && !errors.Is(err, miekg.ErrShortRead) {
			return nil, bare(ctx, err)
		}
		reply, err := parse(packet, q, request.Id)
		if network == "tcp" || !errors.Is(err, errForeign) {
			return reply, err
		}
	}
}

// bare takes from an error of package net what is different each time, such as the local port: a text that stays the same
// is logged once.
func bare(ctx context.Context, err error) error {
	var call *os.SyscallError
	var op *net.OpError
	switch {
	case ctx.Err() != nil:
		return errLate
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errClosed
	case errors.As(err, &call):
		return call.Err
	case errors.As(err, &op):
		return op.Err
	}
	return err
}

// query asks one server in every way that it may need: without EDNS where it does not know it, by TCP when the answer is
// too long for UDP.
func query(ctx context.Context, s *servers, server netip.AddrPort, q question) (records, error) {
	within := func(network string, edns bool) (*miekg.Msg, error) {
		ctx, cancel := context.WithTimeout(ctx, s.timeout)
		defer cancel()
		return exchange(ctx, network, server, q, edns)
	}
	network, edns := "udp", true
	if s.tcp {
		network = "tcp"
	}
	m, err := within(network, edns)
	if err == nil && (m.Rcode == miekg.RcodeFormatError || m.Rcode == miekg.RcodeNotImplemented || m.Rcode == miekg.RcodeBadVers) {
		edns = false
		m, err = within(network, edns)
	}
	if err == nil && m.Truncated && network == "udp" {
		network = "tcp"
		if m, err = within(network, edns); err != nil {
			err = fmt.Errorf("by TCP: %w", err)
		}
	}
	if err != nil {
		return records{}, err
	}
	return read(m, q)
}
