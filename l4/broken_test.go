package l4

import (
	"strings"
	"syscall"
	"testing"

	"sluice/pool"
	"sluice/sysutil"
)

// A FIN that has come is as good as one that has been read, but not while there is something before it that the other
// side has not got.
func TestResetTowardsUnreadFIN(t *testing.T) {
	f := func(name string, near side, rest string, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{})
			ends := r.pair()
			r.exchange(ends[client], ends[server], 1)
			r.exchange(ends[server], ends[client], 1)
			r.settle()
			s, far := r.newest(), near.other()
			must(ends[near].Write([]byte(rest)))
			must(0, ends[near].CloseWrite())
			reset(ends[far])
			eventually(t, "both have come", func() bool {
				var p [1]byte
				n, errno := sysutil.Peek(int(s.ends[near].fd), p[:])
				_, gone := sysutil.Peek(int(s.ends[far].fd), p[:])
				return errno == 0 && n == min(len(rest), 1) && gone == syscall.ECONNRESET
			})
			r.loop.broken(s, far, syscall.ECONNRESET)
			r.expectEnd(want)
		})
	}
	f("server, all was got", server, "", ServerClosed)
	f("server, all but its goodbye", server, strings.Repeat("x", goodbye), ServerClosed)
	f("server, not all was got", server, strings.Repeat("x", goodbye+1), ClientReset)
	f("client, all was got", client, "", ClientClosed)
	f("client, not all was got", client, strings.Repeat("x", goodbye+1), ServerReset)
}

// Whoever does not answer at all is no peer that has closed, whatever had been said before.
func TestDeadAfterFIN(t *testing.T) {
	f := func(near side, want Reason) {
		t.Helper()
		r := newRig(t, rigConfig{})
		ends := r.pair()
		r.exchange(ends[client], ends[server], 1)
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		r.loop.broken(r.newest(), near.other(), syscall.ETIMEDOUT)
		r.expectEnd(want)
	}
	f(server, ClientReset)
	f(client, ServerReset)
}

// A client that resets without having sent or got a byte has looked whether somebody listens.
func TestProbes(t *testing.T) {
	f := func(name string, config rigConfig, sent string, want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, config)
			c := r.dial()
			must(c.Write([]byte(sent)))
			if config.protocol == ProtocolTCP && config.backends == nil {
				r.accept()
			}
			r.until("it has begun", func() bool { return r.newest() != nil })
			r.settle()
			reset(c)
			if end := r.expectEnd(want); end.Errno != syscall.ECONNRESET {
				t.Errorf("ended with %+v, want the errno too", end)
			}
			r.expectEmpty()
		})
	}
	never := []pool.Address{newBacklog(t).address}
	f("tcp", rigConfig{}, "", ClientClosed)
	f("tcp, header sent", rigConfig{send: ProxyV2}, "", ClientClosed)
	f("tcp, header received", rigConfig{accept: accepting()}, lineTCP4, ClientClosed)
	f("tcp, headers", rigConfig{accept: accepting(), send: ProxyV1}, lineTCP4, ClientClosed)
	f("connecting", rigConfig{backends: never}, "", ClientClosed)
	f("connecting, header received", rigConfig{backends: never, accept: accepting()}, lineTCP4, ClientClosed)
	f("before the header", rigConfig{accept: accepting(), backends: never}, "", ClientClosed)
	f("tls", rigConfig{protocol: ProtocolTLS}, "", ClientClosed)
	f("postgres", rigConfig{protocol: ProtocolPostgres}, "", ClientClosed)

	f("tcp, a byte", rigConfig{}, "x", ClientReset)
	f("tcp, a byte, header sent", rigConfig{send: ProxyV2}, "x", ClientReset)
	f("tcp, header received and a byte", rigConfig{accept: accepting()}, lineTCP4+"x", ClientReset)
	f("connecting, a byte that nobody has read", rigConfig{backends: never}, "x", ClientReset)
	f("a part of the header", rigConfig{accept: accepting(), backends: never}, lineTCP4[:20], ClientReset)
	f("tls, a byte", rigConfig{protocol: ProtocolTLS}, "\x16", ClientReset)
	f("postgres, a byte", rigConfig{protocol: ProtocolPostgres}, "\x00", ClientReset)
}

// A client that has got something is none, nor is one whose machine has vanished.
func TestNoProbes(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	r.write(ends[server], []byte("220 hello\r\n"))
	r.expect(ends[client], []byte("220 hello\r\n"))
	reset(ends[client])
	r.expectEnd(ClientReset)
	r.pair()
	r.loop.broken(r.newest(), client, syscall.ETIMEDOUT)
	r.expectEnd(ClientReset)
}
