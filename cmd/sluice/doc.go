// Sluice is a layer-4 TCP load balancer: it accepts connections, picks a backend, tells it who the client is, and moves
// bytes in both directions.
//
//	main ──► run ───┐
//	         demo ──┴──► world: pools, monitors, data path, admin API; wired here, and nowhere else
//	         check, init, schema, version, completion
//	         status, reload, diff, set, unset, drain, maint, ready, add, remove, sessions, kill, rebalance: ask one that runs
//
// The exit status is 0, 1 when something failed, 2 when sluice was called wrongly, and 3 when its configuration is wrong.
package main
