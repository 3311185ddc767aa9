package main

import (
	"os"
	"runtime"

	"sluice/bench/record"
)

// The main goroutine stays on the main thread: see process.
func init() { runtime.LockOSThread() }

func main() {
	if len(os.Args) == 4 && os.Args[1] == backendArg {
		record.Exit("bench", serveBackend(os.Args[2:]))
	}
	record.Main("bench", parseOptions, bench)
}
