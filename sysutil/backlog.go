package sysutil

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a listening socket has in its queue when it is closed is reset. These close the queue first, so that whoever
// empties it then knows that nothing comes after. A TCP socket cannot be shut down for that: shutdown(2) resets what
// waits, too. A filter (SO_ATTACH_FILTER in socket(7)) drops what would join the queue; dropped packets are sent again,
// and find the next process that listens there, or nobody.

// The filters see a packet from its TCP header on.
var (
	noSYN = []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 13}, // the flags
		{Code: unix.BPF_ALU | unix.BPF_AND | unix.BPF_K, K: flagSYN | flagACK},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: flagSYN, Jt: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1<<32 - 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	nothing = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
)

const (
	flagSYN = 0x02
	flagACK = 0x10
)

// RefuseHandshakes lets no new handshake begin at a listening TCP socket. Those under
// way go on. Connections accepted from now on need Unfilter.
func RefuseHandshakes(fd int) syscall.Errno { return attachFilter(fd, noSYN) }

// CloseBacklog lets nothing more into the queue of a listening TCP socket. Settle must be called before the queue can
// be relied on, and Unfilter for each connection that is accepted from now on: it has inherited the filter.
func CloseBacklog(fd int) syscall.Errno { return attachFilter(fd, nothing) }

// CloseUnixBacklog is CloseBacklog for a Unix socket, which needs neither of the two:
// connect(2) is refused from now on, and what waits stays.
func CloseUnixBacklog(fd int) syscall.Errno {
	_, _, errno := unix.RawSyscall(unix.SYS_SHUTDOWN, uintptr(fd), unix.SHUT_RD, 0)
	return errno
}

// Unfilter lets a connection receive that was accepted from a socket with a filter.
func Unfilter(fd int) syscall.Errno {
	return setInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
}

// Settle returns when no CPU is still at work with a packet that it took before. membarrier(2) waits for a grace period
// of the kernel's, and the network stack takes a packet within one. Where it is not to be had the wait is none: the
// window was a few microseconds.
func Settle() {
	const global = 1 // MEMBARRIER_CMD_GLOBAL
	unix.Syscall(unix.SYS_MEMBARRIER, global, 0, 0)
}

func attachFilter(fd int, program []unix.SockFilter) syscall.Errno {
	p := unix.SockFprog{Len: uint16(len(program)), Filter: unsafe.SliceData(program)}
	_, _, errno := unix.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
		uintptr(unsafe.Pointer(&p)), unsafe.Sizeof(p), 0)
	return errno
}
