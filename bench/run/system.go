package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"sluice/bench/load"
)

// A system is one program under test with one configuration.
type system struct {
	name string
	// rival groups the variants of one program: the best of them counts.
	rival string
	quick bool // takes part in -quick
	// idleSessions, unless zero, is held in place of row.sessions: for a
	// system that needs too many descriptors per session.
	idleSessions int
	// rows, unless nil, are those in which the system takes part.
	rows    []string
	command func(setup) (command, error)
}

// ioCopyIdle is how many idle sessions of 6 descriptors fit into 20,000.
const ioCopyIdle = 2000

// The rivals by name. The first is what everything else is compared with.
const (
	sluice  = "sluice"
	haproxy = "HAProxy"
	tuned   = "HAProxy tuned" // no variant of HAProxy as people run it: see configs.go
	nginx   = "nginx"
	ioCopy  = "io.Copy"
)

// plain are the systems that can route and refuse, without the variants that
// only matter where there is something to splice.
var plain = []string{"sluice", "HAProxy", "nginx"}

// A setup is what a system is told for one measurement.
type setup struct {
	dir      string // for its configuration
	bin      string // where the programs built for this run are
	listen   netip.AddrPort
	aside    netip.AddrPort // also to listen on, where a ClientHello is waited for; used if the duty is silent or asked
	backends []netip.AddrPort
	duty
}

// A duty is what a row asks of a system besides passing bytes on.
type duty struct {
	threads int  // 0: as many as there are processors
	proxy   bool // send the PROXY header, v2 where the system can
	deny    bool // refuse every client of loopback by its address
	names   bool // choose the pool by the name in the TLS ClientHello: names.go
	asked   bool // answer for metrics at aside: asked.go
	silent  bool // wait for the ClientHello of clients that never send one: silent.go
}

// first is what shows that a system is ready.
func (d duty) first() load.Flow {
	switch {
	case d.deny:
		return load.Flow{Work: load.Refused, Sessions: 4}
	case d.names:
		return load.Flow{Work: load.Connect, Sessions: 4, ServerName: askedName}
	}
	return load.Flow{Work: load.Hold, Sessions: 4, Size: 64}
}

// A command is how to start a system in the foreground.
type command struct {
	path string
	args []string
	env  []string // in addition to this process's own
}

// systems lists what is compared, in the order of the table.
func systems() []system {
	return []system{
		{name: "sluice", rival: sluice, quick: true, command: sluiceCommand},
		{name: "HAProxy", rival: haproxy, quick: true, command: haproxyCommand("")},
		{name: "HAProxy splice-auto", rival: haproxy, command: haproxyCommand("option splice-auto")},
		{name: "HAProxy splice", rival: haproxy, quick: true,
			command: haproxyCommand(forcedSplice)},
		{name: "HAProxy splice, 1 MiB pipes", rival: tuned, quick: true, rows: []string{"bulk-down", "bulk-up", "mixed", "mixed-closed"},
			command: haproxyCommand(forcedSplice, "tune.pipesize 1048576")},
		{name: "nginx", rival: nginx, quick: true, command: nginxCommand},
		{name: "io.Copy", rival: ioCopy, quick: true, idleSessions: ioCopyIdle, command: ioCopyCommand},
	}
}

// takesPart reports whether s is measured in a row.
func (s *system) takesPart(r row) bool {
	return (s.rows == nil || slices.Contains(s.rows, r.name)) && (r.systems == nil || slices.Contains(r.systems, s.name))
}

// cpus is the number of threads a system gets unless the row says otherwise.
func (d duty) cpus() int {
	if d.threads > 0 {
		return d.threads
	}
	return runtime.NumCPU()
}

// config writes a configuration file and returns its path.
func (s *setup) config(name, text string) (string, error) {
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write configuration: %w", err)
	}
	return path, nil
}
