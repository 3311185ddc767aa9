package sysutil

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMain fails the run when a descriptor or a goroutine is left over.
func TestMain(m *testing.M) {
	before := openFiles()
	code := m.Run()
	if left := leftFiles(before); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "descriptors left open: %v\n", left)
		code = 1
	}
	if n := leftGoroutines(); n > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines left running\n", n)
		code = 1
	}
	os.Exit(code)
}

// openFiles lists the descriptors of this process with what they refer to,
// without those that the runtime keeps for itself.
func openFiles() []string {
	var files []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && !strings.HasPrefix(to, "/proc/") {
			files = append(files, filepath.Base(link)+" "+to)
		}
	}
	return files
}

// patient is how long a test waits for what must happen. It is long because
// machines that test are busy; nothing waits for it to pass.
const patient = time.Minute

// leftFiles lists the descriptors that are open and were not open before.
func leftFiles(before []string) (left []string) {
	wait(patient, func() bool {
		left = slices.DeleteFunc(openFiles(), func(file string) bool { return slices.Contains(before, file) })
		return len(left) == 0
	})
	return left
}

func leftGoroutines() (left int) {
	wait(patient, func() bool {
		left = runtime.NumGoroutine() - 1
		return left == 0
	})
	return left
}

// wait asks for a condition every millisecond until it holds.
func wait(limit time.Duration, holds func() bool) {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(limit); !holds() && time.Now().Before(end); {
		<-pace.C
	}
}

// checkFiles fails a test that leaves a descriptor open.
func checkFiles(t *testing.T) {
	t.Helper()
	before := openFiles()
	t.Cleanup(func() {
		if left := leftFiles(before); len(left) > 0 {
			t.Errorf("descriptors left open: %v", left)
		}
	})
}
