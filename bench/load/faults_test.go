package load

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patient is how long a test waits for what must happen. It is long because
// machines that test are busy; nothing waits for it to pass.
const patient = time.Minute

// faultPlan measures until a fault is seen. What is not answered in time, or is
// counted in the end, needs an end that is soon.
func faultPlan(target netip.AddrPort, flow Flow, want error) Plan {
	plan := Plan{Target: target, Flows: []Flow{flow}, Duration: patient, Patience: patient}
	if want == errPatience {
		plan.Patience = 200 * time.Millisecond
	}
	if want == errPatience || flow.Work == Upload {
		plan.Duration = 20 * time.Millisecond
	}
	return plan
}

// runLonger measures until something has moved in every flow, each time for longer: a busy machine may not get to all of
// them in the first time. Before it measures again it calls again.
func runLonger(plan Plan, again func()) (*Report, error) {
	plan.Patience = patient
	for {
		report, err := Run(context.Background(), plan)
		if !errors.Is(err, ErrNothingMoved) || plan.Duration > patient {
			return report, err
		}
		plan.Duration *= 4
		again()
	}
}

// TestFaultsFailTheRun: whatever a balancer may do wrong, no report results.
func TestFaultsFailTheRun(t *testing.T) {
	f := func(name string, flow Flow, handle func(net.Conn), want error) {
		t.Helper()
		if _, err := Run(context.Background(), faultPlan(serve(t, handle), flow, want)); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", name, err, want)
		}
	}
	exchange := Flow{Work: Exchange, Sessions: 2, Size: 64}
	f("closes at once", exchange, func(c net.Conn) { io.ReadFull(c, make([]byte, 64)); c.Close() }, errEarlyEnd)
	f("resets", exchange, func(c net.Conn) { c.(*net.TCPConn).SetLinger(0); c.Close() }, syscall.ECONNRESET)
	f("never answers", exchange, func(c net.Conn) { io.Copy(io.Discard, c) }, errPatience)
	f("answers once", exchange, answering(1, nil), errPatience)
	f("flips a bit of the body", exchange, answering(-1, func(b []byte) []byte { b[40] ^= 1; return b }), errWrongBytes)
	f("swaps sessions", exchange, answering(-1, func(b []byte) []byte { b[12] ^= 1; return b }), errHead)
	f("repeats a reply", exchange, answering(-1, func(b []byte) []byte { return append(b, b...) }), errWrongBytes)
	hello := Flow{Work: Connect, Sessions: 2, ServerName: "shop.example"}
	flipping := func(at int) func(net.Conn) {
		return func(c net.Conn) {
			b := make([]byte, 200)
			io.ReadFull(c, b)
			b[at] ^= 1
			c.Write(b)
		}
	}
	f("flips a bit of a hello", hello, flipping(100), errWrongBytes)
	f("swaps hellos", hello, flipping(helloTag+1), errHead)
	f("no answer to a hello", hello, func(c net.Conn) { io.ReadFull(c, make([]byte, 200)); c.Close() }, syscall.ECONNRESET)
	f("wakes an idle session", Flow{Work: Hold, Sessions: 1, Size: 64},
		answering(-1, func(b []byte) []byte { return append(b, 0) }), errWrongBytes)
	f("stream out of step", Flow{Work: Download, Sessions: 1}, func(c net.Conn) {
		io.ReadFull(c, make([]byte, headSize))
		c.Write(pattern()[:5000])
		c.Write(pattern()[5001:9000])
	}, errWrongBytes)
	f("stream ends", Flow{Work: Download, Sessions: 1}, func(c net.Conn) {
		io.ReadFull(c, make([]byte, headSize))
		c.Write(pattern()[:5000])
		c.Close()
	}, errEarlyEnd)
	f("upload loses a byte", Flow{Work: Upload, Sessions: 1}, func(c net.Conn) {
		n, _ := io.Copy(io.Discard, c)
		var count [8]byte
		binary.LittleEndian.PutUint64(count[:], uint64(n)-headSize-1)
		c.Write(count[:])
	}, errWrongBytes)
}

// answering returns a server of 64 B exchanges that stops after times replies
// (never when negative), and changes each by fault unless that is nil.
func answering(times int, fault func([]byte) []byte) func(net.Conn) {
	return func(c net.Conn) {
		for i := 0; i != times; i++ {
			b := make([]byte, 64)
			if _, err := io.ReadFull(c, b); err != nil {
				return
			}
			if fault != nil {
				b = fault(b)
			}
			c.Write(b)
		}
		io.Copy(io.Discard, c)
	}
}

func TestRefusedConnectFailsTheRun(t *testing.T) {
	b, err := StartBackend(BackendConfig{Listen: []netip.AddrPort{loopback}})
	if err != nil {
		t.Fatal(err)
	}
	target := b.Addrs()[0]
	b.Close()
	_, err = Run(context.Background(), Plan{Target: target, Flows: []Flow{{Work: Connect, Sessions: 2, Size: 64}}})
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("got %v, want %v", err, syscall.ECONNREFUSED)
	}
}

func TestErrorNamesSessionAndMessage(t *testing.T) {
	target := serve(t, func(c net.Conn) { io.ReadFull(c, make([]byte, 64)); c.Close() })
	_, err := Run(context.Background(), Plan{Target: target, Flows: []Flow{{Work: Exchange, Sessions: 1, Size: 64}}})
	if err == nil || !strings.HasPrefix(err.Error(), "session 0, message 1: connection ended early") {
		t.Errorf("got %v", err)
	}
}

// TestBackendRefuses: the backend resets what it cannot have been sent.
func TestBackendRefuses(t *testing.T) {
	f := func(name string, proxy bool, sent []byte, want error) {
		t.Helper()
		reported := make(chan error, 8)
		b := startBackend(t, BackendConfig{Proxy: proxy, OnError: func(err error) { reported <- err }})
		conn, err := net.Dial("tcp", b.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patient))
		conn.Write(sent)
		if _, err := io.Copy(io.Discard, conn); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("%s: client got %v, want a reset", name, err)
		}
		if err := <-reported; !errors.Is(err, want) {
			t.Errorf("%s: backend reported %v, want %v", name, err, want)
		}
	}
	request := func(op byte, size int) []byte {
		b := message(size)
		h := makeHead(op, size, 7)
		copy(b, h[:])
		return b
	}
	wrong := request(opExchange, 64)
	wrong[63] ^= 1
	f("wrong byte", false, wrong, errWrongBytes)
	f("two requests at once", false, append(request(opExchange, 64), request(opExchange, 64)...), errWrongBytes)
	f("unknown work", false, request('?', 64), errHead)
	f("PROXY header that was not agreed", false, append([]byte("PROXY UNKNOWN\r\n"), request(opExchange, 64)...), errHead)
	f("no PROXY header", true, request(opExchange, 64), errProxyHeader)
	f("wrong stream", false, append(request(opUpload, headSize), pattern()[1:100]...), errWrongBytes)
	f("bytes after a download's head", false, append(request(opDownload, headSize), 0), errWrongBytes)
}

// TestBackendInPieces: a request and its PROXY header may come byte by byte.
func TestBackendInPieces(t *testing.T) {
	exchange := message(40)
	h := makeHead(opExchange, 40, 99)
	copy(exchange, h[:])
	hello, err := clientHello("shop.example")
	if err != nil {
		t.Fatal(err)
	}
	f := func(name, header string, request []byte) {
		t.Helper()
		b := startBackend(t, BackendConfig{Proxy: header != ""})
		conn, err := net.Dial("tcp", b.Addrs()[0].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(patient))
		for _, c := range append([]byte(header), request...) {
			conn.Write([]byte{c})
		}
		reply := make([]byte, len(request))
		if _, err := io.ReadFull(conn, reply); err != nil || string(reply) != string(request) {
			t.Errorf("%s: reply % x, %v; want % x", name, reply, err, request)
		}
	}
	v2 := v2Signature + "\x21\x11\x00\x0c" + "\x7f\x00\x00\x01\x7f\x00\x00\x01\x12\x34\x00\x50"
	f("no header", "", exchange)
	f("v2", v2, exchange)
	f("v1", "PROXY TCP4 127.0.0.1 127.0.0.1 4660 80\r\n", exchange)
	f("hello", "", hello)
	f("hello behind v2", v2, hello)
}

func TestProxyHeaderLength(t *testing.T) {
	f := func(in string, want int, wantErr error) {
		t.Helper()
		if n, err := proxyHeader([]byte(in)); n != want || err != wantErr {
			t.Errorf("%q: got %d, %v; want %d, %v", in, n, err, want, wantErr)
		}
	}
	f("", 0, nil)
	f("PROX", 0, nil)
	f("PROXY UNKNOWN\r\nrest", 15, nil)
	f("PROXY "+strings.Repeat("x", 101), 0, errProxyHeader)
	f("GET / HTTP/1.0\r\n\r\n", 0, errProxyHeader)
	f(v2Signature[:5], 0, nil)
	f(v2Signature+"\x20\x00\x00\x00", 16, nil)
	f(v2Signature+"\x21\x11\x00\x0c0123456789a", 0, nil)
	f(v2Signature+"\x21\x11\x00\x0c0123456789abrest", 28, nil)
}
