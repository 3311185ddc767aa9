package l4

import (
	"context"
	"net"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"sluice/pool"
)

// cancelRig is a rig with several backends that the test serves.
func cancelRig(t *testing.T, c rigConfig, backends int) (*rig, []net.Listener) {
	t.Helper()
	listeners, addresses := listenMany(t, backends)
	c.backends = addresses
	return newPostgresRig(t, c), listeners
}

// loginAt opens a session in clear at backend i, which is made the only one that is
// up for the purpose.
func (r *rig) loginAt(listeners []net.Listener, i int, key []byte) (ends [2]conn) {
	r.t.Helper()
	up := make([]bool, len(listeners))
	for j, b := range r.pool.Backends() {
		up[j] = b.Stats().Up
		b.SetUp(j == i)
	}
	ends[client] = r.dial()
	header := r.headerFor(ends[client], r.srv.listeners()[0].rules.Load().config.Target.SendProxy)
	r.write(ends[client], startup)
	ends[server] = r.acceptFrom(listeners[i])
	r.expect(ends[server], slices.Concat(header, startup))
	r.write(ends[server], loginAnswer(key))
	r.expect(ends[client], loginAnswer(key))
	for j, b := range r.pool.Backends() {
		b.SetUp(up[j])
	}
	return ends
}

// expectCancel takes a cancel request at a backend; it is the only thing that
// comes.
func (r *rig) expectCancel(listener net.Listener, want []byte) conn {
	r.t.Helper()
	s := r.acceptFrom(listener)
	r.expect(s, want)
	r.expectNothing(s)
	return s
}

// The key that a server gave a client in clear leads to that server, however it is
// written, as long as the session lasts.
func TestCancelOwner(t *testing.T) {
	f := func(name string, size int, send ProxyVersion) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r, listeners := cancelRig(t, rigConfig{send: send}, 3)
			key := cancelKey(1, size)
			ends := r.loginAt(listeners, 1, key)
			r.expectActive(0, 1, 0)

			c := r.dial()
			r.write(c, cancelRequest(key))
			s := r.expectCancel(listeners[1], slices.Concat(r.headerFor(c, send), cancelRequest(key)))
			r.expectActive(0, 1, 0) // it takes no slot
			r.expectState(stateCancelling)
			r.expectNothing(c) // until the server has acted on it
			s.Close()
			r.expectFIN(c)
			end := r.expectEnd(ServerClosed)
			if end.Pool != "pool" || end.Received != 0 {
				t.Errorf("ended with %+v", end)
			}
			r.expectNobody(listeners[0])
			r.expectNobody(listeners[2])
			r.exchange(ends[client], ends[server], 3)
			if b := r.pool.Backends()[1].Stats(); b.Connects != 2 {
				t.Errorf("%d connects, want 2", b.Connects)
			}

			ends[client].Close()
			ends[server].Close()
			r.expectEnd(ClientClosed)
			if n := len(r.srv.cancelKeys.owners); n != 0 {
				t.Errorf("%d keys are remembered after the session", n)
			}
		})
	}
	f("16 bytes", 4, ProxyOff)
	f("16 bytes, v1", 4, ProxyV1)
	f("16 bytes, v2", 4, ProxyV2)
	f("protocol 3.2", 32, ProxyOff)
	f("shortest", 1, ProxyV2)
	f("longest", 256, ProxyV2)
}

// A key that nobody has given in clear goes to every backend that may own it.
func TestCancelUnknown(t *testing.T) {
	for _, send := range []ProxyVersion{ProxyOff, ProxyV1, ProxyV2} {
		t.Run(send.String(), func(t *testing.T) {
			r, listeners := cancelRig(t, rigConfig{send: send, maxConns: 1}, 5)
			b := r.pool.Backends()
			for _, down := range []*pool.Backend{b[1], b[2], b[3]} {
				down.SetUp(false)
			}
			full := r.loginAt(listeners, 0, cancelKey(1, 4))     // at its limit
			draining := r.loginAt(listeners, 2, cancelKey(2, 4)) // down, and has a session
			b[3].SetUp(true)
			b[3].SetAdmin(pool.Maint)
			r.expectActive(1, 0, 1, 0, 0)

			c := r.dial()
			request := cancelRequest(cancelKey(9, 4))
			want := slices.Concat(r.headerFor(c, send), request)
			r.write(c, request)
			var asked []conn
			for _, i := range []int{0, 2, 4} {
				asked = append(asked, r.expectCancel(listeners[i], want))
			}
			r.expectActive(1, 0, 1, 0, 0) // it takes no slot
			r.expectNobody(listeners[1])
			r.expectNobody(listeners[3])
			for _, s := range asked {
				r.expectNothing(c) // until all have acted on it
				s.Close()
			}
			r.expectFIN(c)
			r.expectEnd(ServerClosed)
			r.expectActive(1, 0, 1, 0, 0)
			r.exchange(full[client], full[server], 3)
			r.exchange(draining[server], draining[client], 3)
		})
	}
}

// The request may come after a question for encryption, and behind a PROXY header.
func TestCancelAfterRefusal(t *testing.T) {
	r := newPostgresRig(t, rigConfig{accept: accepting(), send: ProxyV2})
	header := v2(commandProxy, familyTCP4, addresses4)
	c := r.dial()
	r.write(c, append([]byte(lineTCP4), sslRequest...))
	first := r.accept()
	r.expect(first, slices.Concat(header, sslRequest))
	r.write(first, []byte("N"))
	r.expect(c, []byte("N"))
	key := cancelKey(1, 4)
	r.write(c, cancelRequest(key))
	r.expectFIN(first) // it was asked, and is not the one who must hear this
	s := r.expectCancel(r.backend, slices.Concat(header, cancelRequest(key)))
	s.Close()
	r.expectFIN(c)
	if end := r.expectEnd(ServerClosed); end.Client != source4 {
		t.Errorf("ended with %+v, want client %v", end, source4)
	}
	r.srv.running.Wait()
	r.expectEmpty()
}

// A client that does not wait has been heard all the same.
func TestCancelClientLeaves(t *testing.T) {
	f := func(name string, want Reason, leave func(conn)) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{})
			c := r.dial()
			request := cancelRequest(cancelKey(1, 4))
			r.write(c, request)
			s := r.expectCancel(r.backend, request)
			r.expectState(stateCancelling)
			leave(c)
			r.expectEnd(want)
			s.Close()
			r.srv.running.Wait()
			r.settle() // the message that it is done finds nobody
			r.expectEmpty()
		})
	}
	fin := func(c conn) { c.CloseWrite() }
	f("FIN", ClientClosed, fin)
	f("reset", ClientReset, reset)
	f("close", ClientClosed, func(c conn) { c.Close() })
}

// The client writes and closes at once, as some do: nothing that sluice learns of
// it comes later.
func TestCancelWithFIN(t *testing.T) {
	r := newPostgresRig(t, rigConfig{})
	c := r.dial()
	request := cancelRequest(cancelKey(1, 4))
	r.write(c, request)
	c.CloseWrite()
	s := r.expectCancel(r.backend, request)
	s.Close()
	r.until("the session ends", func() bool { return len(r.ended) == 1 })
	if reason := r.ended[0].Reason; !reason.Clean() {
		t.Errorf("ended with %v", reason)
	}
	r.expectFIN(c)
	r.srv.running.Wait()
	r.expectEmpty()
}

// Nobody to ask, or nobody who listens.
func TestCancelFails(t *testing.T) {
	f := func(name string, backends []pool.Address, prepare func(*rig), want Reason) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newPostgresRig(t, rigConfig{backends: backends})
			prepare(r)
			c := r.dial()
			r.write(c, cancelRequest(cancelKey(1, 4)))
			r.expectEnd(want)
			r.expectReset(c, nil) // it is not told more: libpq does not read an answer
			r.srv.running.Wait()
			r.expectEmpty()
		})
	}
	none := func(*rig) {}
	f("nobody is up", []pool.Address{refusing(t), refusing(t)}, func(r *rig) {
		for _, b := range r.pool.Backends() {
			b.SetUp(false)
		}
	}, NoBackend)
	f("refused", []pool.Address{refusing(t), refusing(t)}, none, ConnectRefused)
	f("no such socket", []pool.Address{{Unix: filepath.Join(t.TempDir(), "none")}}, none, ConnectRefused)
	f("too many under way", nil, func(r *rig) {
		for range DefaultMaxCancels {
			r.srv.cancelling <- struct{}{}
		}
	}, QueueFull)
}

// One who hears it is enough, and those who do not answer hold nothing up for
// longer than the timeout.
func TestCancelSilentServers(t *testing.T) {
	f := func(name string, want Reason, addresses ...pool.Address) {
		t.Helper()
		p := newPool(t, 1, 0, addresses...)
		var got Reason
		// Who answers has had time to do so when it is long enough.
		for timeout := 200 * time.Millisecond; got != want && timeout < patient; timeout *= 4 {
			c := &cancellation{packet: cancelRequest(cancelKey(1, 4)), dialled: make(chan struct{}, DefaultMaxCancels)}
			for _, b := range p.Backends() {
				c.asked = append(c.asked, addressee{backend: b, dial: new(dialTarget)})
			}
			begun := time.Now()
			ctx, stop := context.WithTimeout(t.Context(), timeout)
			got = c.run(ctx)
			stop()
			if took := time.Since(begun); took < timeout*3/4 {
				t.Errorf("%s: over after %v, want to wait for those who are silent, until the timeout", name, took)
			}
		}
		if got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for _, b := range p.Backends() {
			if n := b.Stats().Active; n != 0 {
				t.Errorf("%s: %d slots are taken in the end", name, n)
			}
		}
	}
	deaf := listenTCP(t, "127.0.0.1:0") // the kernel accepts, and that is all
	silent := newBacklog(t).address
	f("no connect", ConnectTimeout, silent)
	f("no answer", ServerReset, tcpAddress(deaf.Addr()))
	f("one does not answer", ServerClosed, silent, tcpAddress(closer(t).Addr()))
}

// closer is a server that takes a cancel request and closes.
func closer(t *testing.T) net.Listener {
	t.Helper()
	listener := listenTCP(t, "127.0.0.1:0")
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			c.Read(make([]byte, 1000))
			c.Close()
		}
	}()
	return listener
}

// Many at once, on a running server, next to the sessions they are for.
func TestCancelUnderLoad(t *testing.T) {
	const loops, sessions = 2, 200
	var asked [2]atomic.Int64
	var addresses []pool.Address
	for i := range asked {
		listener := listenTCP(t, "127.0.0.1:0")
		addresses = append(addresses, tcpAddress(listener.Addr()))
		go func() {
			for {
				c, err := listener.Accept()
				if err != nil {
					return
				}
				buf := make([]byte, 1000)
				if n, _ := c.Read(buf); slices.Equal(buf[:n], cancelRequest(cancelKey(byte(i), 4))) {
					asked[i].Add(1)
				}
				c.Close()
			}
		}()
	}
	p := newPool(t, loops, 0, addresses...)
	srv := startServer(t, loops, p, ListenerConfig{Protocol: ProtocolPostgres}, nil)
	for i, b := range p.Backends() {
		srv.cancelKeys.add(cancelKey(byte(i), 4), uint64(i), b)
	}
	errs := make(chan error, 8)
	for worker := range cap(errs) {
		go func() {
			for range sessions / cap(errs) {
				c, err := net.Dial("tcp", srv.testAddress())
				if err != nil {
					errs <- err
					return
				}
				c.SetDeadline(time.Now().Add(patient))
				c.Write(cancelRequest(cancelKey(byte(worker%2), 4)))
				_, err = c.Read(make([]byte, 1))
				c.Close()
				if err == nil || err.Error() != "EOF" {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	shutDown(t, srv)
	if a, b := asked[0].Load(), asked[1].Load(); a != sessions/2 || b != sessions/2 {
		t.Errorf("the servers were asked %d and %d times, want %d each", a, b, sessions/2)
	}
	for _, b := range p.Backends() {
		if n := b.Stats().Active; n != 0 {
			t.Errorf("%d slots of %s are taken in the end", n, b.Name())
		}
	}
}
