package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
)

// Resident returns the resident bytes of pids. Pages that processes share count once: the proportional set size is
// used. Where that may not be read, it is VmRSS, whose counters lag by up to a few hundred KiB.
func Resident(pids []int) (sum int64, err error) {
	for _, pid := range pids {
		n, err := field(path(pid, "smaps_rollup"), "Pss:")
		if errors.Is(err, os.ErrPermission) || errors.Is(err, os.ErrNotExist) {
			n, err = field(path(pid, "status"), "VmRSS:")
		}
		if err != nil {
			return 0, fmt.Errorf("read memory of process %d: %w", pid, err)
		}
		sum += n
	}
	return sum, nil
}

// field finds the line "name  N kB" in a file and returns N in bytes.
func field(file, name string) (int64, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		words := bytes.Fields(line)
		if len(words) != 3 || string(words[0]) != name || string(words[2]) != "kB" {
			continue
		}
		n, err := strconv.ParseInt(string(words[1]), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse %s: %w", file, err)
		}
		return n << 10, nil
	}
	return 0, fmt.Errorf("parse %s: no line %q", file, name)
}

// Descriptors returns the number of file descriptors that pids have open.
func Descriptors(pids []int) (n int, err error) {
	for _, pid := range pids {
		names, err := os.ReadDir(path(pid, "fd"))
		if err != nil {
			return 0, fmt.Errorf("count descriptors of process %d: %w", pid, err)
		}
		n += len(names)
	}
	return n, nil
}
