// Package probe asks one server one question: is it fit for sessions? It knows nothing of intervals, states or pools.
//
// Every kind that connects says goodbye as its protocol wants it, so that the server's log stays clean: a FIN and never a reset, in
// TLS after a close_notify, to Postgres after a Terminate. A probe that the program's end cuts short gets a moment to
// finish.
//
//	kind      asked                              connection
//	tcp       connect, halfway                   none that the server accepts (see knock)
//	tls       handshake                          one per probe
//	http      one request                        one per probe
//	expect    the steps                          one per probe
//	postgres  role, system, timeline, lag        kept between probes; Wait tells when it is lost
//
// No kind takes more than a mebibyte for one question, whatever the server sends: see bounded.
//
// The role that Postgres is asked as needs the right to log in and to connect to its database, and no other.
package probe
