package l4

import (
	"fmt"
	"net"
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
	if address := os.Getenv(crowdVariable); address != "" {
		if err := crowd(address); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	warmUp()
	before := openFiles()
	code := m.Run()
	if left := leftFiles(before); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "descriptors left open: %v\n", left)
		code = 1
	}
	if left := leftGoroutines("l4.TestMain("); left != "" && code == 0 {
		fmt.Fprintf(os.Stderr, "goroutines left running:\n%s\n", left)
		code = 1
	}
	os.Exit(code)
}

// warmUp lets package net open what it keeps for the life of the process.
func warmUp() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	listener.Close()
}

// openFiles lists the descriptors of this process with what they refer to.
func openFiles() []string {
	var files []string
	links, _ := filepath.Glob("/proc/self/fd/*")
	for _, link := range links {
		if to, err := os.Readlink(link); err == nil && !strings.HasPrefix(to, "/proc/") {
			files = append(files, filepath.Base(link)+" "+to)
		}
	}
	slices.Sort(files)
	return files
}

// leftFiles lists the descriptors that are open and were not open before. It
// waits a while for those that are being closed.
func leftFiles(before []string) (left []string) {
	wait(patient, func() bool {
		left = slices.DeleteFunc(openFiles(), func(file string) bool { return slices.Contains(before, file) })
		return len(left) == 0
	})
	return left
}

// leftGoroutines returns the stacks of goroutines that do not end, without
// those of package testing and the one that runs the named functions.
func leftGoroutines(beside ...string) (left string) {
	beside = append(beside, "testing.(*M).", "os/signal.")
	buf := make([]byte, 1<<20)
	wait(patient, func() bool {
		left = ""
		for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
			if !slices.ContainsFunc(beside, func(f string) bool { return strings.Contains(stack, f) }) {
				left += stack + "\n\n"
			}
		}
		return left == ""
	})
	return left
}

// wait asks for a condition every millisecond until it holds. It reports
// whether that happened in time.
func wait(limit time.Duration, holds func() bool) bool {
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for end := time.Now().Add(limit); !holds(); <-pace.C {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}
