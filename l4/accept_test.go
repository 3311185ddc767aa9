package l4

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"sluice/pool"
)

// useUpDescriptors lowers the limit and opens descriptors until no more than
// spare can be had.
func useUpDescriptors(t *testing.T, spare int) (restore func()) {
	t.Helper()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 256
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	var used []int
	for {
		fd, err := syscall.Dup(0)
		if err != nil {
			break
		}
		syscall.CloseOnExec(fd)
		used = append(used, fd)
	}
	for range spare {
		syscall.Close(used[len(used)-1])
		used = used[:len(used)-1]
	}
	restored := false
	restore = func() {
		if restored {
			return
		}
		restored = true
		for _, fd := range used {
			syscall.Close(fd)
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(restore)
	return restore
}

// Out of descriptors, a listener rests and counts; what waits in the kernel's
// queue is served when there are some again.
func TestAcceptWithoutDescriptors(t *testing.T) {
	const clients = 5
	r := newRig(t, rigConfig{})
	var waiting []conn
	for range clients {
		waiting = append(waiting, r.dial())
	}
	restore := useUpDescriptors(t, 0)
	stats := func() ListenerStats { return r.srv.Stats().Listeners[0] }
	r.until("the listener rests", func() bool { return stats().Resting })
	for range 20 {
		r.step() // nothing is tried while it rests
	}
	if s := stats(); s.AcceptErrors != 1 || s.Accepts != 0 || s.Sessions != 0 {
		t.Errorf("stats %+v, want one error and no accept", s)
	}
	r.now += restTime
	r.until("it was tried again", func() bool { return stats().AcceptErrors == 2 })
	if s := stats(); !s.Resting || !s.Scarce {
		t.Error("the listener does not rest for want of descriptors after the second failure")
	}
	if n := strings.Count(r.logs.String(), "listener rests"); n != 1 {
		t.Errorf("%d warnings in ten seconds, want 1:\n%s", n, r.logs.String())
	}
	restore()
	r.now += restTime
	for _, c := range waiting {
		s := r.accept()
		r.exchange(s, c, 2)
	}
	if s := stats(); s.Resting || s.Scarce || s.Accepts != clients || s.Sessions != clients {
		t.Errorf("stats %+v, want %d accepts and no rest", s, clients)
	}
}

// A session that ends gives descriptors back: the listener need not wait for
// the end of its rest.
func TestAcceptAgainAfterEnd(t *testing.T) {
	r := newRig(t, rigConfig{})
	ends := r.pair()
	waiting := r.dial()
	restore := useUpDescriptors(t, 0)
	r.until("the listener rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
	reset(ends[client])
	r.expectEnd(ClientClosed) // two descriptors are free now, and the clock stands
	r.until("the next is accepted", func() bool { return r.srv.Stats().Listeners[0].Accepts == 2 })
	restore()
	if r.srv.Stats().Listeners[0].Resting {
		t.Error("the listener still rests")
	}
	r.exchange(waiting, r.accept(), 2)
}

// A server that stops while a listener rests has nothing to unwatch.
func TestStopWhileResting(t *testing.T) {
	r := newRig(t, rigConfig{})
	r.dial()
	restore := useUpDescriptors(t, 0)
	r.until("the listener rests", func() bool { return r.srv.Stats().Listeners[0].Resting })
	restore()
	r.loop.setSockets(nil)
	r.now += 10 * restTime
	for range 20 {
		r.step()
	}
	if n := r.srv.Stats().Listeners[0].Accepts; n != 0 {
		t.Errorf("%d accepts after the stop", n)
	}
	if wait := r.loop.patience(); wait >= 0 {
		t.Errorf("the loop would wait %v, want for ever", wait)
	}
}

// The step by which accept takes more grows with the queue and falls back.
func TestAcceptBurst(t *testing.T) {
	const clients = 200
	r := newRig(t, rigConfig{})
	for range clients {
		r.dial()
	}
	turns := 0
	for ; r.srv.Stats().Listeners[0].Accepts < clients; turns++ {
		r.step()
	}
	if turns > 12 { // 1 2 4 8 16 32 64 64 ...
		t.Errorf("%d turns to take %d connections, want at most 12", turns, clients)
	}
	for range clients {
		r.accept()
	}
	if n := r.loop.sockets[0].batch; n > 2*maxAcceptBatch {
		t.Errorf("the batch is %d, want at most %d", n, maxAcceptBatch)
	}
}

func TestUnixBothSides(t *testing.T) {
	dir := t.TempDir()
	back, err := net.Listen("unix", filepath.Join(dir, "backend"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	path := filepath.Join(dir, "front")
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: path}}, backends: []pool.Address{{Unix: back.Addr().String()}}})
	bothSides(t, func(t *testing.T, near side) {
		r.t = t
		ends := [2]conn{client: r.dial()}
		ends[server] = r.acceptFrom(back)
		r.exchange(ends[client], ends[server], 50)
		r.exchange(ends[server], ends[client], 50)
		stream := random(1, 8<<20)
		r.both(
			func() error { return writeAll(ends[client], stream) },
			func() error { return readAll(ends[server], stream) },
			func() error { return writeAll(ends[server], stream) },
			func() error { return readAll(ends[client], stream) },
		)
		ends[near].CloseWrite()
		r.expectFIN(ends[near.other()])
		r.exchange(ends[near.other()], ends[near], 50)
		ends[near.other()].CloseWrite()
		r.expectFIN(ends[near])
		if end := r.expectEnd(closedBy(near)); end.Client.IsValid() {
			t.Errorf("client %v, want none", end.Client)
		}
	})
	r.t = t
	closeDoors(r.srv.doors())
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Errorf("the socket file is still there: %v", err)
	}
}

// A Unix socket has no reset: a peer that closes ends its session all the same.
func TestUnixPeerCloses(t *testing.T) {
	back, err := net.Listen("unix", filepath.Join(t.TempDir(), "backend"))
	if err != nil {
		t.Fatal(err)
	}
	defer back.Close()
	r := newRig(t, rigConfig{backends: []pool.Address{{Unix: back.Addr().String()}}})
	c := r.dial()
	s := r.acceptFrom(back)
	r.exchange(s, c, 3)
	r.write(s, []byte("last words"))
	s.Close()
	r.expect(c, []byte("last words"))
	r.expectFIN(c)
	r.write(c, []byte("too late"))
	r.expectEnd(ServerClosed) // it had said all
}

// A message with descriptors makes a read from a Unix socket stop short while
// more is there.
func TestUnixMessageWithDescriptors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "front")
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: path}}})
	ends := r.pair()
	r.settle()
	rights := syscall.UnixRights(0)
	if _, _, err := ends[client].(*net.UnixConn).WriteMsgUnix([]byte("first "), rights, nil); err != nil {
		t.Fatal(err)
	}
	r.write(ends[client], []byte("second"))
	r.expect(ends[server], []byte("first second"))
	r.exchange(ends[client], ends[server], 3)
}

// One listener, several addresses of both families.
func TestSeveralAddresses(t *testing.T) {
	r := newRig(t, rigConfig{bind: []pool.Address{
		{TCP: netip.MustParseAddrPort("127.0.0.1:0")},
		{TCP: netip.MustParseAddrPort("[::1]:0")},
		{TCP: netip.AddrPortFrom(netip.Addr{}, 0)},
		{Unix: filepath.Join(t.TempDir(), "front")},
	}})
	bound := r.srv.Stats().Listeners[0].Addresses
	f := func(network, address, source string) {
		t.Helper()
		c := r.keep(must(net.Dial(network, address)))
		r.exchange(c, r.accept(), 3)
		want := netip.Addr{}
		if source != "" {
			want = netip.MustParseAddr(source)
		}
		if got := r.newest().client.Addr(); got != want {
			t.Errorf("dial %s: client %v, want %v", address, got, want)
		}
	}
	f("tcp", bound[0].String(), "127.0.0.1")
	f("tcp", bound[1].String(), "::1")
	every := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), bound[2].TCP.Port())
	f("tcp", every.String(), "127.0.0.1") // not ::ffff:127.0.0.1
	every = netip.AddrPortFrom(netip.MustParseAddr("::1"), bound[2].TCP.Port())
	f("tcp", every.String(), "::1")
	f("unix", bound[3].Unix, "")
}

// An abstract name has no file, and a file that happens to be called so stays.
func TestAbstractUnixListener(t *testing.T) {
	t.Chdir(t.TempDir())
	name := fmt.Sprintf("@sluice-l4-test-%d", os.Getpid())
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, rigConfig{bind: []pool.Address{{Unix: name}}})
	ends := r.pair()
	r.exchange(ends[client], ends[server], 3)
	closeDoors(r.srv.doors())
	if _, err := os.Stat(name); err != nil {
		t.Errorf("a file was removed for an abstract name: %v", err)
	}
}

// epoll may refuse a descriptor, for want of memory or of watches. A file is
// refused as well.
func TestEpollRefusesConnection(t *testing.T) {
	for _, accept := range []*AcceptProxy{nil, accepting()} {
		r := newRig(t, rigConfig{accept: accept})
		fd, err := syscall.Open("/proc/self/status", syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		ls := r.srv.listeners()[0]
		r.loop.reservePlace(&r.loop.sockets[0])
		ls.accepts.Add(1)
		r.loop.load.Add(1)
		ls.rules.Load().sessions.Add(1)
		r.loop.begin(ls.rules.Load(), fd, netip.MustParseAddrPort("127.0.0.1:1"), false)
		if end := r.expectEnd(ConnectFailed); end.Errno != syscall.EPERM || end.Pool != "" {
			t.Errorf("ended with %+v, want EPERM and no pool", end)
		}
		r.expectEmpty()
	}
}
