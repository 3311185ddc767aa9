package sysutil

import (
	"bytes"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

const pipeSize = 256 << 10

func TestPipe(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, b)
	c, d := tcpPair(t)
	closing(t, d)
	pool := NewPipePool(NewPipeBudget(1, pipeSize))
	defer pool.Close()
	p := pool.Get()
	defer func() { pool.Put(p) }()

	if n, errno := p.FillFrom(b, 1000); n != 0 || errno != syscall.EAGAIN {
		t.Errorf("FillFrom an empty socket: %d, %v; want EAGAIN", n, errno)
	}
	data := bytes.Repeat([]byte("0123456789"), 500)
	Send(a, data)
	await(t, b, unix.POLLIN)
	n, errno := p.FillFrom(b, 1000)
	if n != 1000 || errno != 0 || p.Len() != 1000 {
		t.Fatalf("FillFrom: %d, %v, length %d; want the limit of 1000", n, errno, p.Len())
	}
	buf := make([]byte, 10_000)
	if n, errno := p.Read(buf[:300]); n != 300 || errno != 0 || p.Len() != 700 {
		t.Errorf("Read: %d, %v, length %d", n, errno, p.Len())
	}
	if n, errno := p.DrainTo(c); n != 700 || errno != 0 || p.Len() != 0 {
		t.Errorf("DrainTo: %d, %v, length %d", n, errno, p.Len())
	}
	if n, errno := p.Read(buf[1000:]); n != 0 || errno != syscall.EAGAIN {
		t.Errorf("Read from an empty pipe: %d, %v; want EAGAIN", n, errno)
	}
	await(t, d, unix.POLLIN)
	if n, errno := Recv(d, buf[300:]); n != 700 || errno != 0 {
		t.Errorf("Recv: %d, %v", n, errno)
	}
	if !bytes.Equal(buf[:1000], data[:1000]) {
		t.Error("what came through the pipe differs")
	}
	Close(a)
	await(t, b, unix.POLLRDHUP)
	if n, errno := p.FillFrom(b, 1<<20); n != 4000 || errno != 0 {
		t.Errorf("FillFrom the rest: %d, %v", n, errno)
	}
	if n, errno := p.FillFrom(b, 1<<20); n != 0 || errno != 0 {
		t.Errorf("FillFrom after FIN: %d, %v; want 0 and no error", n, errno)
	}
	Reset(c)
	if n, errno := p.DrainTo(c); n != 0 || errno != syscall.EBADF || p.Len() != 4000 {
		t.Errorf("DrainTo a closed descriptor: %d, %v, length %d; want EBADF, and nothing lost", n, errno, p.Len())
	}
}

// A sink that takes nothing leaves the bytes in the pipe.
func TestDrainToFullSocket(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	c, d := tcpPair(t)
	closing(t, c)
	closing(t, d)
	for errno := syscall.Errno(0); errno == 0; {
		_, errno = Send(c, make([]byte, 1<<20))
	}
	pool := NewPipePool(NewPipeBudget(1, pipeSize))
	defer pool.Close()
	p := pool.Get()
	Send(a, []byte("held back"))
	await(t, b, unix.POLLIN)
	if n, errno := p.FillFrom(b, 1000); n != 9 || errno != 0 {
		t.Fatalf("FillFrom: %d, %v", n, errno)
	}
	if n, errno := p.DrainTo(c); n != 0 || errno != syscall.EAGAIN || p.Len() != 9 {
		t.Errorf("DrainTo: %d, %v, length %d; want EAGAIN and 9 bytes left", n, errno, p.Len())
	}
	pool.Put(p) // with bytes in it: it must not be lent again
	if pool.budget.Open() != 0 {
		t.Errorf("%d pipes are open, want the one with bytes closed", pool.budget.Open())
	}
	if p := pool.Get(); p == nil || p.Len() != 0 {
		t.Error("no empty pipe can be had afterwards")
	} else {
		pool.Put(p)
	}
}

func TestRefuseSplice(t *testing.T) {
	checkFiles(t)
	a, b := tcpPair(t)
	closing(t, a)
	closing(t, b)
	pool := NewPipePool(NewPipeBudget(1, pipeSize))
	defer pool.Close()
	p := pool.Get()
	defer func() { pool.Put(p) }()
	Send(a, []byte("x"))
	await(t, b, unix.POLLIN)
	restore := RefuseSplice(syscall.EINVAL)
	if n, errno := p.FillFrom(b, 10); n != 0 || errno != syscall.EINVAL || p.Len() != 0 {
		t.Errorf("FillFrom: %d, %v, want EINVAL", n, errno)
	}
	restore()
	if n, errno := p.FillFrom(b, 10); n != 1 || errno != 0 {
		t.Errorf("FillFrom after restore: %d, %v", n, errno)
	}
	var buf [10]byte
	p.Read(buf[:])
}

func TestPipeBudget(t *testing.T) {
	checkFiles(t)
	budget := NewPipeBudget(3, pipeSize)
	one, two := NewPipePool(budget), NewPipePool(budget)
	expect := func(open, lent int) {
		t.Helper()
		if budget.Open() != open || budget.Lent() != lent {
			t.Errorf("%d open, %d lent; want %d, %d", budget.Open(), budget.Lent(), open, lent)
		}
	}
	a, b, c := one.Get(), one.Get(), two.Get()
	if a == nil || b == nil || c == nil || one.Get() != nil || two.Get() != nil {
		t.Fatal("a budget of 3 does not allow exactly 3 pipes")
	}
	expect(3, 3)
	one.Put(a)
	expect(3, 2)
	if two.Get() != nil {
		t.Error("a pipe was made beyond the budget")
	}
	if again := one.Get(); again != a {
		t.Error("the pipe that was put back is not used again")
	}
	one.Put(a)
	one.Put(b)
	one.Close()
	expect(1, 1)
	d := two.Get()
	if d == nil {
		t.Fatal("what another pool closed cannot be had")
	}
	two.Put(c)
	two.Put(d)
	two.Close()
	two.Close()
	expect(0, 0)
	if budget.Limit() != 3 {
		t.Errorf("limit %d, want 3", budget.Limit())
	}
}

func TestNoPipeBudget(t *testing.T) {
	var zero PipeBudget
	for _, budget := range []*PipeBudget{&zero, NewPipeBudget(0, pipeSize), NewPipeBudget(-1, pipeSize)} {
		if NewPipePool(budget).Get() != nil || budget.Open() != 0 || budget.Lent() != 0 {
			t.Errorf("a budget of none lends a pipe: %d open, %d lent", budget.Open(), budget.Lent())
		}
	}
}

// A pool keeps some pipes after a burst, and closes the others.
func TestPipePoolKeeps(t *testing.T) {
	checkFiles(t)
	budget := NewPipeBudget(2*keep, 64<<10)
	pool := NewPipePool(budget)
	defer pool.Close()
	var lent []*Pipe
	for range 2 * keep {
		lent = append(lent, pool.Get())
	}
	for _, p := range lent {
		pool.Put(p)
	}
	if budget.Open() != keep || budget.Lent() != 0 {
		t.Errorf("%d open, %d lent; want %d, 0", budget.Open(), budget.Lent(), keep)
	}
}

// Pools of several loops share one budget without a lock.
func TestPipeBudgetConcurrently(t *testing.T) {
	checkFiles(t)
	const limit = 8
	budget := NewPipeBudget(limit, 64<<10)
	var loops sync.WaitGroup
	for range 4 {
		loops.Go(func() {
			pool := NewPipePool(budget)
			defer pool.Close()
			for range 500 {
				var lent []*Pipe
				for range 4 {
					if p := pool.Get(); p != nil {
						lent = append(lent, p)
					}
				}
				if n := budget.Lent(); n > limit {
					t.Errorf("%d pipes are lent, want at most %d", n, limit)
				}
				for _, p := range lent {
					pool.Put(p)
				}
			}
		})
	}
	loops.Wait()
	if budget.Open() != 0 || budget.Lent() != 0 {
		t.Errorf("%d open, %d lent in the end", budget.Open(), budget.Lent())
	}
}

// Without descriptors there is no pipe, and the budget is not used up by it.
func TestPipeWithoutDescriptors(t *testing.T) {
	checkFiles(t)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 3 // what is open stays open
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	budget := NewPipeBudget(1, pipeSize)
	pool := NewPipePool(budget)
	p := pool.Get()
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if p != nil || budget.Open() != 0 || budget.Lent() != 0 {
		t.Errorf("Get without descriptors: %v, %d open, %d lent", p, budget.Open(), budget.Lent())
	}
	if p := pool.Get(); p == nil {
		t.Error("no pipe with descriptors")
	} else {
		pool.Put(p)
	}
	pool.Close()
}
