package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

// root is where proc is mounted; tests set up their own.
var root = "/proc"

// stat is what is used of /proc/PID/stat.
type stat struct {
	pid, parent int
	ended       bool   // a zombie: nothing is left but its status, for its parent
	ticks       uint64 // utime + stime, of ended threads too
	reaped      uint64 // cutime + cstime: of children that have ended and were waited for, and likewise of theirs
}

// parseStat reads a line of /proc/PID/stat. The second field is the command
// in parentheses, which may itself hold spaces and parentheses.
func parseStat(text []byte) (s stat, err error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 0 || end < open {
		return s, fmt.Errorf("parse stat: no command in %q", text)
	}
	if s.pid, err = strconv.Atoi(string(bytes.TrimSpace(text[:open]))); err != nil {
		return s, fmt.Errorf("parse stat: %w", err)
	}
	fields := bytes.Fields(text[end+1:])
	// From the state, field 3: ppid is field 4, utime and stime are 14 and 15, cutime and cstime follow.
	if len(fields) < 15 {
		return s, fmt.Errorf("parse stat: %d fields after the command in %q", len(fields), text)
	}
	if s.parent, err = strconv.Atoi(string(fields[1])); err != nil {
		return s, fmt.Errorf("parse stat: %w", err)
	}
	s.ended = fields[0][0] == 'Z'
	for i, sum := range []*uint64{&s.ticks, &s.ticks, &s.reaped, &s.reaped} {
		ticks, err := strconv.ParseUint(string(fields[11+i]), 10, 64)
		if err != nil {
			return s, fmt.Errorf("parse stat: %w", err)
		}
		*sum += ticks
	}
	return s, nil
}

func readStat(pid int) (stat, error) {
	text, err := os.ReadFile(path(pid, "stat"))
	if err != nil {
		return stat{}, err
	}
	return parseStat(text)
}

func path(pid int, name ...string) string {
	return filepath.Join(append([]string{root, strconv.Itoa(pid)}, name...)...)
}

// Tree returns pid and all its descendants, in ascending order of parents; those that have ended are not among them.
func Tree(pid int) ([]int, error) {
	names, err := os.ReadDir(root)
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, name := range names {
		n, err := strconv.Atoi(name.Name())
		if err != nil {
			continue
		}
		// A process that has ended since is nobody's child any more, and one that has has no children.
		if s, err := readStat(n); err == nil && !s.ended {
			children[s.parent] = append(children[s.parent], n)
		}
	}
	if _, err := readStat(pid); err != nil {
		return nil, fmt.Errorf("find process %d: %w", pid, err)
	}
	tree := []int{pid}
	for i := 0; i < len(tree); i++ {
		next := children[tree[i]]
		slices.Sort(next)
		tree = append(tree, next...)
	}
	return tree, nil
}
