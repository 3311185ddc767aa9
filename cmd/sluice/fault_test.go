package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"sluice/sysutil/handoff"
)

// faultVariable names the file that says what is to go wrong with this sluice, for the tests of upgrades: see
// cmd/sluice/e2e. A sluice that is no test binary does not know it.
const faultVariable = "SLUICE_TEST_FAULT"

// mainWithFaults is sluice, in which something may go wrong at a point of a hand-over.
func mainWithFaults() {
	if path := os.Getenv(faultVariable); path != "" {
		f := &fault{path: path, passed: make(map[string]int)}
		handoff.Hook = f.at
	}
	main()
}

// A fault is what the file says: "POINT#N=ACTION" is what happens to the process that is the Nth time at a point. It
// happens once: the file has another name then, and the process stands in a file beside it. With "trace" all points are
// written to a file beside it.
type fault struct {
	path   string
	mu     sync.Mutex // guards what follows
	text   string     // what the file said last
	passed map[string]int
}

// at is called at each point.
func (f *fault) at(c *net.UnixConn, point string) {
	switch f.action(point) {
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	case "stop": // this thread, which stops all others before it goes on
		runtime.LockOSThread()
		_, _, _ = syscall.RawSyscall(syscall.SYS_TGKILL, uintptr(os.Getpid()), uintptr(syscall.Gettid()), uintptr(syscall.SIGSTOP))
		runtime.UnlockOSThread()
	case "ask": // it goes on when it has heard, and gives up
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		if raw, err := c.SyscallConn(); err == nil {
			_ = raw.Read(func(uintptr) bool { return false }) // until the deadline is over
		}
	case "cut": // what came before can be read: nothing that was sent is lost between two processes that live
		_ = errors.Join(c.CloseRead(), c.CloseWrite())
	}
}

// action returns what happens to this process here.
func (f *fault) action(point string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, err := os.ReadFile(f.path)
	if err != nil {
		return ""
	}
	if string(text) != f.text {
		f.text = string(text)
		clear(f.passed)
	}
	f.passed[point]++
	here := fmt.Sprintf("%s#%d", point, f.passed[point])
	if f.text == "trace" {
		f.trace(here)
		return ""
	}
	where, action, _ := strings.Cut(f.text, "=")
	if where != here || os.WriteFile(f.path+".pid", []byte(strconv.Itoa(os.Getpid())), 0o600) != nil ||
		os.Rename(f.path, f.path+".done") != nil {
		return ""
	}
	return action
}

func (f *fault) trace(here string) {
	out, err := os.OpenFile(f.path+".trace", os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err == nil {
		fmt.Fprintln(out, here)
		err = out.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}
