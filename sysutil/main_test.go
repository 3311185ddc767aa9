package sysutil

import (
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// TestMain fails the run when a descriptor or a goroutine is left over.
func TestMain(m *testing.M) {
	before := systest.OpenFiles()
	code := m.Run()
	if left := systest.LeftFiles(before, patient); len(left) > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "descriptors left open: %v\n", left)
		code = 1
	}
	if n := leftGoroutines(); n > 0 && code == 0 {
		fmt.Fprintf(os.Stderr, "%d goroutines left running\n", n)
		code = 1
	}
	os.Exit(code)
}

// patient is how long a test waits for what must happen. It is long because
// machines that test are busy; nothing waits for it to pass.
const patient = time.Minute

func leftGoroutines() (left int) {
	systest.Wait(patient, func() bool {
		left = runtime.NumGoroutine() - 1
		return left == 0
	})
	return left
}

// checkFiles fails a test that leaves a descriptor open.
func checkFiles(t *testing.T) {
	t.Helper()
	before := systest.OpenFiles()
	t.Cleanup(func() {
		if left := systest.LeftFiles(before, patient); len(left) > 0 {
			t.Errorf("descriptors left open: %v", left)
		}
	})
}
