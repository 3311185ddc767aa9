package main

import (
	"context"
	"time"
)

// A system is a program and one way to put a new binary or a new configuration of it into service.
type system struct {
	name, way string
	program   string // what -systems names it
	// start starts it in a bed and returns what upgrades it once. An upgrade is over when the program says so, or shows it.
	start func(context.Context, *bed) (func(context.Context) (told, error), error)
	// limit is how long sessions of before an upgrade may go on; 0: as long as they like.
	limit time.Duration
}

// told is what a program says of its upgrade.
type told struct {
	refused                string // why there was none
	total, accept, session time.Duration
}

const (
	sluice  = "sluice"
	haproxy = "HAProxy"
	nginx   = "nginx"
)

// limited is what those are told that are to be rid of old processes: the time is short so that ten upgrades are.
const limited = 2 * time.Second

// systems lists what is compared, sluice first.
func systems() []system {
	return []system{
		{name: "sluice", program: sluice, way: "`sluice upgrade`", start: startSluice},
		{name: "HAProxy, master-worker", program: haproxy, way: "SIGUSR2 to the master", start: startMaster(0)},
		{name: "HAProxy", program: haproxy, way: "`-sf PID -x SOCKET`", start: startAfter},
		{name: "HAProxy, master-worker, `hard-stop-after 2s`", program: haproxy, way: "SIGUSR2 to the master", start: startMaster(limited), limit: limited},
		{name: "nginx", program: nginx, way: "SIGUSR2, then SIGQUIT to the old master", start: startNginx(changeBinary, 0)},
		{name: "nginx", program: nginx, way: "SIGHUP (the same binary)", start: startNginx(reload, 0)},
		{name: "nginx, `worker_shutdown_timeout 2s`", program: nginx, way: "SIGHUP (the same binary)", start: startNginx(reload, limited), limit: limited},
	}
}
