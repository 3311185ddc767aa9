package sysutil

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A PipeBudget bounds the pipes of the whole process. Every loop's PipePool
// draws on the same budget. The zero value allows none.
type PipeBudget struct {
	limit atomic.Int64
	size  int
	open  atomic.Int64
	lent  atomic.Int64
}

// NewPipeBudget allows up to limit pipes of size bytes each.
func NewPipeBudget(limit, size int) *PipeBudget {
	b := &PipeBudget{size: size}
	b.limit.Store(int64(limit))
	return b
}

// Limit is the largest number of pipes open at a time. It falls when the kernel
// grants no more pipes of the size asked for.
func (b *PipeBudget) Limit() int { return int(b.limit.Load()) }

// Open is the number of pipes open now, lent or kept for the next borrower.
func (b *PipeBudget) Open() int { return int(b.open.Load()) }

// Lent is the number of pipes that hold a session's bytes now.
func (b *PipeBudget) Lent() int { return int(b.lent.Load()) }

// A PipePlan is how many pipes this process may open without harm, and how large.
type PipePlan struct {
	Limit int
	Size  int  // bytes of each
	Soft  bool // fs.pipe-user-pages-soft allows no more
}

const (
	// enoughPipes is for how many streams at a time a small budget is divided. A stream
	// without a pipe is copied: at 100 streams, 32 pipes of 1 MiB cost 1.5 times the CPU of
	// 256 pipes of 128 KiB; for few streams the size makes no difference.
	enoughPipes = 256
	// EnoughPipePages is what fs.pipe-user-pages-soft has to be for that many of 1 MiB.
	EnoughPipePages = 2 * enoughPipes * (1 << 20) / 4096
)

// PlanPipes plans pipes of size bytes: for an eighth of the descriptors, and half of the pages that pipe(7) allows a
// user before every further pipe of that user shrinks to one page. Where these are few, pipes are smaller. A process
// with CAP_SYS_RESOURCE or CAP_SYS_ADMIN is exempt from that.
func PlanPipes(size int) PipePlan {
	plan := PipePlan{Limit: 1024, Size: size}
	if files, err := FileLimit(); err == nil {
		plan.Limit = max(int(min(files/16, 65536)), leastPipes)
	}
	if pages, ok := softPipePages(); ok {
		plan.fit(pages / 2 * os.Getpagesize())
	}
	return plan
}

const leastPipes = 4

// fit makes the pipes smaller and fewer until all together have no more than so many bytes.
func (p *PipePlan) fit(bytes int) {
	for bytes/p.Size < min(p.Limit, enoughPipes) && p.Size > smallestUsefulPipe {
		p.Size /= 2
		p.Soft = true
	}
	if n := max(bytes/p.Size, leastPipes); n < p.Limit {
		p.Limit, p.Soft = n, true
	}
}

// softPipePages is /proc/sys/fs/pipe-user-pages-soft; ok is false when it does not bind this process.
func softPipePages() (pages int, ok bool) {
	if HasCapability(unix.CAP_SYS_RESOURCE) || HasCapability(unix.CAP_SYS_ADMIN) {
		return 0, false
	}
	text, err := os.ReadFile("/proc/sys/fs/pipe-user-pages-soft")
	if err != nil {
		return 0, false
	}
	pages, err = strconv.Atoi(strings.TrimSpace(string(text)))
	return pages, err == nil && pages > 0
}

// keep is how many empty pipes a pool holds on to: enough that a burst of
// streams does not create and destroy a pipe per turn.
const keep = 32

// A PipePool lends pipes. It belongs to one goroutine; the budget is shared.
type PipePool struct {
	budget *PipeBudget
	free   []*Pipe
}

// NewPipePool returns an empty pool that draws on budget.
func NewPipePool(budget *PipeBudget) *PipePool {
	return &PipePool{budget: budget}
}

// Get lends an empty pipe; nil when the budget is used up, the process is out of descriptors, or the kernel grants less
// than the size asked for (the pipe-user-pages-soft limit). The caller then copies.
func (p *PipePool) Get() *Pipe {
	var pipe *Pipe
	if last := len(p.free) - 1; last >= 0 {
		pipe, p.free = p.free[last], p.free[:last]
	} else if pipe = p.budget.create(); pipe == nil {
		return nil
	}
	p.budget.lent.Add(1)
	return pipe
}

// Put takes a pipe back. One that still holds bytes is closed: its bytes belong to a session that has ended.
func (p *PipePool) Put(pipe *Pipe) {
	p.budget.lent.Add(-1)
	if pipe.n != 0 || len(p.free) >= keep {
		p.budget.destroy(pipe)
		return
	}
	p.free = append(p.free, pipe)
}

// Close closes the pipes that are not lent.
func (p *PipePool) Close() {
	for _, pipe := range p.free {
		p.budget.destroy(pipe)
	}
	p.free = nil
}

func (b *PipeBudget) create() *Pipe {
	if b.open.Add(1) > b.limit.Load() {
		b.open.Add(-1)
		return nil
	}
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		b.open.Add(-1)
		return nil
	}
	pipe := &Pipe{r: fds[0], w: fds[1]}
	// Fails with EPERM beyond pipe-max-size or the user's soft limit; what counts is the size that results.
	size, err := unix.FcntlInt(uintptr(pipe.w), unix.F_SETPIPE_SZ, b.size)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(pipe.w), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < min(b.size, smallestUsefulPipe) {
		b.destroy(pipe)
		// The user's soft limit is reached, by this process or by others, or in a container whose capabilities do not
		// count (user_namespaces(7)): asking again for each read would cost more than copying.
		b.limit.Store(b.open.Load())
		return nil
	}
	return pipe
}

// smallestUsefulPipe is the kernel's default. A pipe of one page, which is what
// a user beyond the soft limit gets, makes splice slower than copying.
const smallestUsefulPipe = 64 << 10

func (b *PipeBudget) destroy(pipe *Pipe) {
	pipe.close()
	b.open.Add(-1)
}
