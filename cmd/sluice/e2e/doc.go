// Package e2e holds the tests of the sluice program with the programs it is made for: nginx, PostgreSQL, HAProxy, curl,
// openssl and Chromium. It has no code of its own.
//
//	curl, psql, pgbench ──► (HAProxy) ──► sluice run ──► (HAProxy) ──► nginx, postgres
//	                                          ▲
//	                 sluice status, /metrics ─┘
//
// The tests build sluice and start everything themselves, on loopback, in directories of their own, and end it again.
// No service of the machine is used. A program that is missing fails its tests: they are of no use when they do not
// run. On Debian 12 or later, all of it comes with
//
//	apt-get install nginx postgresql haproxy curl openssl patroni etcd-server chromium-headless-shell
//
// but for a newer nginx on Debian 12, which make deps unpacks without installing it: see tlsname_nginx.sh.
//
// Whatever a test does, it ends with rig.checkCounters: every session that was accepted has ended for one reason, and
// status, metrics and log agree about all of them.
package e2e
