package pool

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"testing"
)

func TestObstacleOf(t *testing.T) {
	f := func(err error, want Obstacle) {
		t.Helper()
		if got := ObstacleOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
	f(nil, NoObstacle)
	f(syscall.EADDRNOTAVAIL, NoPort)
	f(syscall.EADDRINUSE, NoPort)
	f(syscall.EAGAIN, BacklogFull)
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		f(errno, NoResources)
	}
	f(&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)}, NoPort)
	f(fmt.Errorf("probe: %w", syscall.EMFILE), NoResources)
	for _, errno := range []syscall.Errno{
		0, syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH,
		syscall.ENOENT, syscall.EACCES, syscall.EPERM, syscall.EPROTO,
	} {
		f(errno, NoObstacle) // evidence
	}
	f(os.ErrDeadlineExceeded, NoObstacle)
}

func TestObstaclesAreCounted(t *testing.T) {
	p, err := New(Config{Name: "p", Backends: []BackendConfig{{Name: "b", Address: Address{Unix: "/x"}, Weight: 1}}})
	if err != nil {
		t.Fatal(err)
	}
	b := p.Backends()[0]
	for i, o := range Obstacles() {
		for range i + 1 {
			b.Obstructed(o)
		}
		if n := b.Stats().Obstacles[o]; n != uint64(i+1) {
			t.Errorf("%v: %d, want %d", o, n, i+1)
		}
	}
	if b.Stats().ConnectFailures != [numDialResults]uint64{} {
		t.Errorf("failures are counted: %+v", b.Stats())
	}
}
