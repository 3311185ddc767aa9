package sysutil

import (
	"bytes"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/sysutil/systest"
)

// deadPeerOptions reads back what SetDeadPeer sets: whether keepalives are sent, when, how often (in seconds), and the
// bound on unacknowledged data (in milliseconds).
func deadPeerOptions(t *testing.T, fd int) (options [4]int) {
	t.Helper()
	for i, option := range [...][2]int{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE}, {unix.IPPROTO_TCP, unix.TCP_KEEPIDLE},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL}, {unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT},
	} {
		value, err := unix.GetsockoptInt(fd, option[0], option[1])
		if err != nil {
			t.Fatal(err)
		}
		options[i] = value
	}
	return options
}

func TestSetDeadPeer(t *testing.T) {
	checkFiles(t)
	f := func(timeout time.Duration, want [4]int) {
		t.Helper()
		a, b := tcpPair(t)
		closing(t, b)
		if errno := SetDeadPeer(closing(t, a), timeout); errno != 0 {
			t.Fatalf("SetDeadPeer(%v): %v", timeout, errno)
		}
		if got := deadPeerOptions(t, a); got != want {
			t.Errorf("SetDeadPeer(%v): options %v, want %v", timeout, got, want)
		}
	}
	f(5*time.Second, [4]int{1, 2, 1, 5000})
	f(50*time.Second, [4]int{1, 20, 10, 50000})
	f(12345*time.Millisecond, [4]int{1, 4, 2, 12345})
	f(time.Hour, [4]int{1, 1440, 720, 3600_000})
	// What the kernel takes at most (MAX_TCP_KEEPIDLE, an int of milliseconds).
	f(24*time.Hour, [4]int{1, 32767, 17280, 86400_000})
	f(1<<62, [4]int{1, 32767, 32767, 1<<31 - 1})
	f(time.Millisecond, [4]int{1, 1, 1, 1})
}

// Whoever binds says it once.
func TestDeadPeerIsInherited(t *testing.T) {
	checkFiles(t)
	listener := closing(t, listenAny(t, "127.0.0.1:0"))
	if errno := SetDeadPeer(listener, 50*time.Second); errno != 0 {
		t.Fatal(errno)
	}
	sa := TCPSockaddr(localAddr(t, listener))
	c, errno := Connect(&sa)
	if errno != 0 {
		t.Fatal(errno)
	}
	closing(t, c)
	await(t, listener, unix.POLLIN)
	fd, _, errno := Accept(listener)
	if errno != 0 {
		t.Fatal(errno)
	}
	if got, want := deadPeerOptions(t, closing(t, fd)), [4]int{1, 20, 10, 50000}; got != want {
		t.Errorf("options of the accepted connection: %v, want %v", got, want)
	}
	if got := deadPeerOptions(t, c); got[0] != 0 || got[3] != 0 {
		t.Errorf("options of the other end: %v, want none", got)
	}
}

func TestSetUserTimeout(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	SetDeadPeer(a, 50*time.Second)
	f := func(timeout time.Duration, want int) {
		t.Helper()
		if errno := SetUserTimeout(a, timeout); errno != 0 {
			t.Fatal(errno)
		}
		if got := deadPeerOptions(t, a); got != [4]int{1, 20, 10, want} {
			t.Errorf("SetUserTimeout(%v): options %v, want only the last changed, to %d", timeout, got, want)
		}
	}
	f(0, 0)
	f(7*time.Second, 7000)
	f(1<<62, 1<<31-1)
}

func TestDeadPeerOfNoTCP(t *testing.T) {
	checkFiles(t)
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	closing(t, fds[0])
	closing(t, fds[1])
	for _, fd := range []int{-1, fds[0]} {
		if SetDeadPeer(fd, 50*time.Second) == 0 || SetUserTimeout(fd, 50*time.Second) == 0 {
			t.Errorf("descriptor %d: no error", fd)
		}
	}
	if _, errno := DeliveryOf(-1); errno != syscall.EBADF {
		t.Errorf("DeliveryOf of no descriptor: %v, want EBADF", errno)
	}
	if d, errno := DeliveryOf(fds[0]); d != (Delivery{}) || errno != 0 {
		t.Errorf("DeliveryOf of an empty Unix socket: %+v, %v", d, errno)
	}
	Send(fds[0], []byte("x"))
	if _, errno := DeliveryOf(fds[0]); errno == 0 {
		t.Error("DeliveryOf of a Unix socket that owes something: no error")
	}
}

// silence makes a socket deaf: the kernel drops what comes for it, so that it acknowledges nothing any more.
func silence(t *testing.T, fd int) {
	t.Helper()
	drop := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	program := unix.SockFprog{Len: 1, Filter: &drop[0]}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &program); err != nil {
		t.Fatal(err)
	}
}

// deliveryUntil asks until an answer is as wanted.
func deliveryUntil(t *testing.T, fd int, what string, holds func(Delivery) bool) {
	t.Helper()
	var d Delivery
	systest.Wait(patient, func() (ok bool) {
		var errno syscall.Errno
		if d, errno = DeliveryOf(fd); errno != 0 {
			t.Fatal(errno)
		}
		return holds(d)
	})
	if !holds(d) {
		t.Fatalf("%s: not so: %+v", what, d)
	}
}

// fill sends until the peer's window and the own buffer are full.
func fill(t *testing.T, fd int) {
	t.Helper()
	chunk := bytes.Repeat([]byte("x"), 256<<10)
	for idle := 0; idle < 20; idle++ {
		if n, _ := Send(fd, chunk); n > 0 {
			idle = 0
		}
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
		unix.Poll(fds, 2)
	}
}

func TestDeliveryOf(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	deliveryUntil(t, a, "nothing was sent", func(d Delivery) bool { return d == Delivery{} })
	Send(a, []byte("hello"))
	deliveryUntil(t, a, "what was sent is acknowledged, though nobody reads", func(d Delivery) bool { return d == Delivery{} })
	fill(t, a)
	deliveryUntil(t, a, "the window is closed, and the peer answers", func(d Delivery) bool {
		return d.Owed > 1000 && d.Unanswered == 0 && d.Silent < time.Second
	})
	buf := make([]byte, 1<<20)
	deliveryUntil(t, a, "all was read", func(d Delivery) bool {
		Recv(b, buf)
		return d == Delivery{}
	})
	silence(t, b)
	Send(a, []byte("hello"))
	deliveryUntil(t, a, "the peer has gone", func(d Delivery) bool {
		return d.Owed == 5 && d.Unanswered >= 2 && d.Silent >= 300*time.Millisecond && d.Silent < patient
	})
}

// A peer that goes while its window is closed is told from one that is still there.
func TestDeliveryBehindClosedWindow(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	fill(t, a)
	silence(t, b)
	deliveryUntil(t, a, "the peer has gone", func(d Delivery) bool {
		return d.Owed > 1000 && d.Unanswered >= 2 && d.Silent >= 300*time.Millisecond
	})
}
