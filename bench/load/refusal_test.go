package load

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// TestRefusalsAreCounted: no more than were made, whichever way.
func TestRefusalsAreCounted(t *testing.T) {
	f := func(name string, refuse func(net.Conn)) {
		t.Helper()
		var made atomic.Uint64
		target := serve(t, func(c net.Conn) { made.Add(1); refuse(c) })
		flow := Flow{Work: Refused, Sessions: 3}
		var before uint64
		report, err := runLonger(Plan{Target: target, Flows: []Flow{flow}, Duration: 200 * time.Millisecond,
			Begin: func() error { before = made.Load(); return nil }}, func() {})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		checkFlow(t, name, flow, &report.Flows[0])
		// One connection per session can be under way when the measurement begins.
		if got, most := report.Flows[0].Replies, made.Load()-before+3; got > most {
			t.Errorf("%s: %d refusals counted, at most %d were made", name, got, most)
		}
	}
	f("reset", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() })
	f("FIN", func(c net.Conn) { c.Close() })
}

// TestNotRefused: neither an answer, nor silence, nor a port where nobody listens is a refusal.
func TestNotRefused(t *testing.T) {
	f := func(name string, target netip.AddrPort, want error) {
		t.Helper()
		_, err := Run(context.Background(), faultPlan(target, Flow{Work: Refused, Sessions: 2}, want))
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	f("speaks first", serve(t, func(c net.Conn) { c.Write([]byte("x")); c.Close() }), errWrongBytes)
	f("stays silent", serve(t, func(c net.Conn) { io.Copy(io.Discard, c) }), errPatience)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	f("nobody listens", ln.Addr().(*net.TCPAddr).AddrPort(), syscall.ECONNREFUSED)
}

// TestClientHello: what is sent is a whole hello to any TLS server.
func TestClientHello(t *testing.T) {
	hello, err := clientHello("shop.example")
	if err != nil {
		t.Fatal(err)
	}
	if len(hello) < 517 {
		t.Errorf("hello of %d bytes", len(hello))
	}
	h := helloHead(hello, 1<<56|0x1234<<32|0xabcdef)
	if want := []byte{0x12, 0x34, 0xab, 0xcd, 0xef}; !bytes.Equal(h[helloTag:], want) || !bytes.Equal(h[:helloTag], hello[:helloTag]) {
		t.Errorf("head % x of % x", h, hello[:headSize])
	}
	copy(hello, h[:])
	client, server := net.Pipe()
	defer client.Close()
	go client.Write(hello)
	var got *tls.ClientHelloInfo
	refused := errors.New("seen enough")
	err = tls.Server(server, &tls.Config{GetConfigForClient: func(info *tls.ClientHelloInfo) (*tls.Config, error) {
		got = info
		server.Close() // nobody reads the alert
		return nil, refused
	}}).Handshake()
	if !errors.Is(err, refused) || got.ServerName != "shop.example" {
		t.Errorf("server saw %+v, %v", got, err)
	}
}
