// Command peer is a TCP peer that misbehaves as told, to see what a balancer
// makes of it. Its argument is a script of steps separated by semicolons:
//
//	connect ADDRESS   open the connection
//	listen ADDRESS    listen; the address is printed, port 0 is chosen
//	accept            take the connection
//	send N            send N bytes: 0, 1, 2 ... 255, 0 ...
//	text "BYTES"      send the bytes of a Go string literal
//	recv N            receive exactly N bytes
//	drain             receive until FIN
//	pause DURATION    do nothing: 10ms, 2s
//	fin               send FIN; receiving goes on
//	rst               close with a reset
//	close             close; unread input makes it a reset
//
// For example a client that resets in the middle of a reply:
//
//	peer 'connect 127.0.0.1:8080; send 64; recv 10; rst'
//
// Every step is printed when it is done. The first that cannot be done ends
// the script, and the exit status is 1; a script that is not understood, 2.
package main

import (
	"flag"
	"fmt"
	"os"
	"sync"
)

func main() {
	parallel := flag.Int("parallel", 1, "run the script this many times at once")
	flag.Usage = func() {
		fmt.Fprintf(flag.CommandLine.Output(), "usage: peer [-parallel N] 'STEP; STEP; ...'\n")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	script, err := parse(flag.Arg(0))
	if err != nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(2)
	}
	if !runAll(script, *parallel) {
		os.Exit(1)
	}
}

func runAll(script []step, parallel int) (ok bool) {
	var mu sync.Mutex
	var peers sync.WaitGroup
	ok = true
	for i := range parallel {
		peers.Go(func() {
			p := peer{report: func(line string) { fmt.Printf("%d: %s\n", i, line) }}
			if err := p.run(script); err != nil {
				fmt.Fprintf(os.Stderr, "%d: %v\n", i, err)
				mu.Lock()
				ok = false
				mu.Unlock()
			}
		})
	}
	peers.Wait()
	return ok
}
