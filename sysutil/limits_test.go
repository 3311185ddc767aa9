package sysutil

import (
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRaiseFileLimit(t *testing.T) {
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &before); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &before)
	low := before
	low.Cur = before.Max / 2
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	if n, err := FileLimit(); err != nil || n != low.Cur {
		t.Errorf("FileLimit: %d, %v; want %d", n, err, low.Cur)
	}
	n, err := RaiseFileLimit()
	if now, _ := FileLimit(); err != nil || n != before.Max || now != n {
		t.Errorf("RaiseFileLimit: %d, %v, then %d; want %d", n, err, now, before.Max)
	}
}

func TestOpenFiles(t *testing.T) {
	count := func() int {
		t.Helper()
		n, err := OpenFiles()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := count()
	w, err := NewWaker()
	if err != nil {
		t.Fatal(err)
	}
	if n := count(); n != before+1 {
		t.Errorf("%d open after one was opened, want %d", n, before+1)
	}
	w.Close()
	if n := count(); n != before {
		t.Errorf("%d open after it was closed, want %d", n, before)
	}
}

// The answer is compared with what the kernel does for who has the capability.
func TestHasCapability(t *testing.T) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	for c := range 41 {
		want := data[c/32].Effective&(1<<(c%32)) != 0
		if got := HasCapability(c); got != want {
			t.Errorf("HasCapability(%d) = %v, want %v", c, got, want)
		}
	}
}

func TestPlanPipes(t *testing.T) {
	files, err := FileLimit()
	if err != nil {
		t.Fatal(err)
	}
	plan := PlanPipes(1 << 20)
	if n := plan.Limit; n < leastPipes || n > 65536 || uint64(2*n) > max(2*leastPipes, files/8) {
		t.Errorf("%+v with %d descriptors", plan, files)
	}
	pages, bound := softPipePages()
	if bound && plan.Limit > leastPipes && plan.Limit*plan.Size/os.Getpagesize() > pages/2 {
		t.Errorf("%+v with %d pages", plan, pages)
	}
	if !bound && (plan.Soft || plan.Size != 1<<20) {
		t.Errorf("%+v without a bound of pages", plan)
	}
}

// Where a user may have few pages, pipes become smaller before they become few.
func TestPipePlanFits(t *testing.T) {
	f := func(limit, bytes int, want PipePlan) {
		t.Helper()
		plan := PipePlan{Limit: limit, Size: 1 << 20}
		if plan.fit(bytes); plan != want {
			t.Errorf("%d pipes in %d bytes: %+v, want %+v", limit, bytes, plan, want)
		}
	}
	f(1250, 32<<20, PipePlan{256, 128 << 10, true}) // pipe-user-pages-soft as it comes
	f(64, 32<<20, PipePlan{64, 512 << 10, true})    // few descriptors
	f(16, 32<<20, PipePlan{16, 1 << 20, false})     // so few that they are the bound
	f(1250, 8<<20, PipePlan{128, 64 << 10, true})
	f(1250, 1<<20, PipePlan{16, 64 << 10, true})
	f(1250, 0, PipePlan{leastPipes, 64 << 10, true})
	f(1250, EnoughPipePages/2*4096, PipePlan{256, 1 << 20, true}) // enough, and still what bounds them
	f(256, EnoughPipePages/2*4096, PipePlan{256, 1 << 20, false})
}
