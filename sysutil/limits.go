package sysutil

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// RaiseFileLimit raises the soft limit of open descriptors to the hard one
// and returns it. See RLIMIT_NOFILE in getrlimit(2).
func RaiseFileLimit() (uint64, error) {
	// package syscall, not unix: its Setrlimit tells the runtime, which
	// otherwise hands the old soft limit to child processes.
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read descriptor limit: %w", err)
	}
	limit.Cur = limit.Max
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("raise descriptor limit to %d: %w", limit.Max, err)
	}
	return limit.Cur, nil
}

// FileLimit is the number of descriptors this process may have open.
func FileLimit() (uint64, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, fmt.Errorf("read descriptor limit: %w", err)
	}
	return limit.Cur, nil
}

// OpenFiles is the number of descriptors this process has open: the size of
// /proc/self/fd, since Linux 6.2 (proc_pid_fd(5)). An older kernel says 0 there,
// and lists them one by one, so it is for a scrape, not for the data path.
func OpenFiles() (int, error) {
	const path = "/proc/self/fd"
	if info, err := os.Stat(path); err == nil && info.Size() > 0 {
		return int(info.Size()), nil
	}
	return countFiles(path)
}

func countFiles(path string) (int, error) {
	dir, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	return len(names) - 1, err // the directory itself is one of them
}

// HasCapability reports whether the process holds a capability in its effective set. See capabilities(7).
func HasCapability(capability int) bool {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(status)) {
		if hex, ok := strings.CutPrefix(line, "CapEff:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return err == nil && set&(1<<capability) != 0
		}
	}
	return false
}

// LocalPorts returns the first and the last of the ports from which the kernel chooses one
// for a connect that has none. See ip_local_port_range in ip(7).
func LocalPorts() (low, high uint16) {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if n, _ := fmt.Sscan(string(text), &low, &high); err != nil || n != 2 {
		return 32768, 60999 // as it is if nobody has changed it
	}
	return low, high
}
