package proc

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"
)

// tick is the unit of utime and stime: USER_HZ is 100 on every architecture that Go runs on under Linux except Alpha.
const tick = 10 * time.Millisecond

// CPU is the processor time, user and system, that some processes have used since their start.
type CPU struct {
	// precise sums what the scheduler has counted for every thread alive, in
	// nanoseconds; 0 when the kernel does not tell.
	precise time.Duration
	// coarse is utime and stime, in ticks, of ended threads too.
	coarse time.Duration
}

// CPUTime reads the processor time of pids. It is an error when one of them has ended: its time would be missing.
func CPUTime(pids []int) (CPU, error) {
	var sum CPU
	for _, pid := range pids {
		s, err := readStat(pid)
		if err != nil {
			return CPU{}, fmt.Errorf("read CPU time of process %d: %w", pid, err)
		}
		sum.coarse += time.Duration(s.ticks) * tick
		threads, err := threadTime(pid)
		if err != nil {
			return CPU{}, fmt.Errorf("read CPU time of process %d: %w", pid, err)
		}
		sum.precise += threads
	}
	return sum, nil
}

// threadTime sums task/*/schedstat. See Documentation/scheduler/sched-stats.rst:
// the first field is the time spent on a processor.
func threadTime(pid int) (sum time.Duration, err error) {
	tasks, err := os.ReadDir(path(pid, "task"))
	if err != nil {
		return 0, err
	}
	for _, task := range tasks {
		text, err := os.ReadFile(path(pid, "task", task.Name(), "schedstat"))
		if errors.Is(err, os.ErrNotExist) {
			continue // the thread has ended, or the kernel has no schedstats
		}
		if err != nil {
			return 0, err
		}
		first, _, _ := bytes.Cut(text, []byte(" "))
		ns, err := strconv.ParseInt(string(first), 10, 64)
		if err != nil {
			return 0, fmt.Errorf("parse schedstat: %w", err)
		}
		sum += time.Duration(ns)
	}
	return sum, nil
}

// Since returns the time used since before was read. It is precise to a few milliseconds, a scheduler tick per running
// thread, unless threads have ended in between and took more than that with them; then it is in ticks.
func (c CPU) Since(before CPU) time.Duration {
	precise, coarse := c.precise-before.precise, c.coarse-before.coarse
	const slack = 3 * tick
	if precise < coarse-slack {
		return coarse
	}
	return precise
}

// Spent returns the processor time of pid and its descendants since their start, in ticks, that of descendants that have
// ended included. Of these none is forgotten if pid is a subreaper (PR_SET_CHILD_SUBREAPER in prctl(2)) and waits for them.
func Spent(pid int) (sum time.Duration, err error) {
	pids, err := Tree(pid)
	if err != nil {
		return 0, err
	}
	for _, pid := range pids {
		// One that ends between the two reads is missing, and counts in what its parent has reaped when that is read later.
		if s, err := readStat(pid); err == nil {
			sum += time.Duration(s.ticks+s.reaped) * tick
		}
	}
	return sum, nil
}
