package main

import (
	"bufio"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"strconv"

	"sluice/bench/load"
	"sluice/sysutil"
)

// backendArg as the first argument makes this program the backend. It runs in
// a process of its own so that neither end of a session disturbs the other.
const backendArg = "backend"

// backendAddresses: four, so that the balancer has something to balance and
// the ports of its connections suffice.
const backendAddresses = 4

// serveBackend is the backend process: it prints its addresses, one a line
// with an empty line at the end, and serves until standard input ends.
func serveBackend(args []string) error {
	loops, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	if _, err := sysutil.RaiseFileLimit(); err != nil {
		return err
	}
	// One more than there are loops, so that a loop that returns from
	// epoll_wait finds a place to run.
	runtime.GOMAXPROCS(2*loops + 1)
	cfg := load.BackendConfig{Loops: loops, Proxy: args[1] == "proxy",
		OnError: func(err error) { fmt.Fprintln(os.Stderr, err) }}
	for i := range backendAddresses {
		cfg.Listen = append(cfg.Listen, netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + i)}), 0))
	}
	b, err := load.StartBackend(cfg)
	if err != nil {
		return err
	}
	for _, addr := range b.Addrs() {
		fmt.Println(addr)
	}
	fmt.Println()
	io.Copy(io.Discard, os.Stdin)
	return b.Close()
}

// startBackend starts this program again as the backend. Each measurement has
// its own on fresh ports, so that no connection in TIME_WAIT from an earlier
// one is in the way.
func startBackend(proxy bool) (*process, []netip.AddrPort, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, nil, fmt.Errorf("start backend: %w", err)
	}
	mode := "plain"
	if proxy {
		mode = "proxy"
	}
	stdout, w := io.Pipe()
	p, err := startProcess("backend", command{path: self, args: []string{backendArg, strconv.Itoa(loadLoops()), mode}}, w)
	if err != nil {
		return nil, nil, err
	}
	addrs, err := readAddresses(stdout)
	if err != nil {
		p.stop()
		return nil, nil, p.explain(fmt.Errorf("start backend: %w", err))
	}
	return p, addrs, nil
}

func readAddresses(r io.Reader) (addrs []netip.AddrPort, err error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if lines.Text() == "" {
			return addrs, nil
		}
		addr, err := netip.ParseAddrPort(lines.Text())
		if err != nil {
			return nil, err
		}
		addrs = append(addrs, addr)
	}
	return nil, io.ErrUnexpectedEOF
}

// loadLoops is the number of event loops of the generator and of the backend.
// A loop spends less than half of what a balancer spends per message, so half
// as many as the balancer has are never the bottleneck.
func loadLoops() int { return max(1, runtime.NumCPU()/2) }
