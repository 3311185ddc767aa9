// Package e2e holds the tests of the sluice program with the programs it is made for: nginx, PostgreSQL with Patroni and
// etcd, MariaDB, Dovecot, HAProxy, keepalived, Knot DNS, dnsmasq, Prometheus' promtool, systemd-analyze, curl, openssl and
// Chromium. It has no code of its own.
//
//	curl, psql, pgbench ──► (HAProxy) ──► sluice run ──► (HAProxy) ──► nginx, postgres, mariadbd, dovecot
//	                                          ▲
//	                 sluice status, /metrics ─┘
//
// The tests build sluice and start everything themselves, on loopback, in directories of their own, and end it again.
// No service of the machine is used. A program that is missing fails its tests: they are of no use when they do not
// run. On Debian 12 or later, make deps installs all of it, or says which packages to install: those that the Makefile
// lists as DEBIAN. A newer nginx for Debian 12 is unpacked by it without being installed: see tlsname_nginx.sh.
//
// Whatever a test does, it ends with rig.checkCounters: every session that was accepted has ended for one reason, and
// status, metrics and log agree about all of them.
package e2e
