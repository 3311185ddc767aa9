package systest

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// OpenFiles lists the descriptors of this process with what they refer to, without those of /proc.
func OpenFiles() (files []string) {
	links, _ := filepath.Glob("/proc/self/fd/*") // fails only for a pattern that is malformed
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && !strings.HasPrefix(to, "/proc/") {
			files = append(files, filepath.Base(link)+" "+to)
		}
	}
	slices.Sort(files)
	return files
}

// LeftFiles lists the descriptors that are open and were not open before. It gives those that are being closed this time.
func LeftFiles(before []string, patience time.Duration) (left []string) {
	Wait(patience, func() bool {
		left = slices.DeleteFunc(OpenFiles(), func(file string) bool { return slices.Contains(before, file) })
		return len(left) == 0
	})
	return left
}

// Wait asks for a condition every millisecond until it holds. It reports whether that happened in time.
func Wait(limit time.Duration, holds func() bool) bool {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(limit); !holds(); <-pace.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
