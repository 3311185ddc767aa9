package l4

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"sluice/sysutil/systest"
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
	before := systest.OpenFiles()
	code := m.Run()
	if left := systest.LeftFiles(before, patient); len(left) > 0 && code == 0 {
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

// leftGoroutines returns the stacks of goroutines that do not end, without
// those of package testing and the one that runs the named functions.
func leftGoroutines(beside ...string) (left string) {
	beside = append(beside, "testing.(*M).", "os/signal.")
	buf := make([]byte, 1<<20)
	systest.Wait(patient, func() bool {
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
