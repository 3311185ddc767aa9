package l4

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"
	"unsafe"
)

// ownNetwork takes this test into a network of its own, whose loopback is up, and in which
// the kernel chooses the ports of connects from low to high. The test's thread ends with
// it, and the network too. It needs root.
func ownNetwork(t *testing.T, low, high int) {
	t.Helper()
	runtime.LockOSThread() // never unlocked: nobody else gets the thread
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Fatalf("unshare: %v (this test needs root)", err)
	}
	fd := must(syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0))
	defer syscall.Close(fd)
	request := struct {
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP}
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(fd), syscall.SIOCSIFFLAGS,
		uintptr(unsafe.Pointer(&request))); errno != 0 {
		t.Fatalf("set loopback up: %v", errno)
	}
	setSysctl(t, "net/ipv4/ip_local_port_range", fmt.Sprintf("%d %d", low, high))
}

func setSysctl(t *testing.T, name, value string) {
	t.Helper()
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}
