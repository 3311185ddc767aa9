// Package sysutil is the part of the Linux kernel that sluice uses, in Go types: epoll, sockets and their options,
// splice(2) and pipes, eventfd, resource limits, and descriptors that pass from one process to another. It holds no policy
// and writes no log.
//
// It is the only package that imports golang.org/x/sys/unix; a test in cmd/sluice keeps it so.
//
// # Two kinds of system call
//
// Calls that cannot block (every descriptor here is non-blocking) are made with unix.RawSyscall, which does not tell
// the Go scheduler. On the data path that saves 5 to 10 percent of the cost of a message, and thousands of wake-ups of
// the runtime's monitor thread a second. Only [Poller.Wait] may block, and it enters the scheduler only when it is
// going to.
//
// Functions on the data path return a syscall.Errno, not an error: zero means success, comparing it costs nothing, and
// nothing is allocated. Functions that run at start-up return wrapped errors.
//
// # Descriptors
//
// Every descriptor is born with CLOEXEC and NONBLOCK in the call that creates
// it, so that no window exists in which a fork could inherit it.
package sysutil
