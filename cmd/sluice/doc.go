// Sluice is a layer-4 TCP load balancer: it accepts connections, picks a backend, tells it who the client is, and moves
// bytes in both directions.
//
//	main ──► run ───┐
//	         demo ──┴──► world: pools, monitors, data path, admin API; wired here, and nowhere else
//	         check, init, schema, status, version, completion
//
// The exit status is 0, 1 when something failed, 2 when sluice was called wrongly, and 3 when its configuration is wrong.
package main
