// Package probe asks one server one question: is it fit for sessions? It knows nothing of intervals, states or pools.
//
// Every kind that connects says goodbye as its protocol wants it, so that the server's log stays clean: a FIN and never a reset, in
// TLS after a close_notify, to databases after a farewell. A probe that the program's end cuts short gets a moment to
// finish.
//
//	kind      asked                              connection
//	tcp       connect, halfway                   none that the server accepts (see knock)
//	tls       handshake, or a ServerHello        one per probe
//	http      one request                        one per probe
//	expect    the steps                          one per probe
//	postgres  role, system, timeline, position   kept between probes; Wait tells when it is lost
//	mysql     role, source, position             likewise
//
// TLS asks no more of a server than its clients may: every version from 1.0 on and every cipher. The kind tls, where it
// has nothing to verify and no certificate to show, takes a ServerHello for an answer. The others need the whole
// handshake, and there crypto/tls has its limits: no DHE, no RSA key below 1024 bits, no SHA-1 signature in TLS 1.2.
//
// No kind takes more than a mebibyte for one question, whatever the server sends: see bounded.
//
// The role that Postgres is asked as needs the right to log in and to connect to its database, and no other. That of MySQL
// needs REPLICATION CLIENT as well, of MariaDB SLAVE MONITOR, where more is asked than whether the server is read_only.
package probe
