// Package load is both ends of a measurement: a generator of client sessions and the backend that answers them. Between
// the two stands the balancer under test.
//
// Both are a few epoll loops on raw non-blocking descriptors, so that they
// cost a fraction of what they measure. There is no goroutine per session.
//
// # What a session says
//
// The first message of a session starts with a head that names the work and the message size, so that one backend
// address serves every kind of work and a balancer needs one listener:
//
//	0      1        4          8               16
//	| work | unused | size u32 | tag u64       | pattern ...
//
// An exchange repeats such a message of size bytes in both directions, one at a time; the backend returns the head with
// its tag, so that a reply that belongs to another session is noticed. A download is pattern bytes from the backend
// until one side closes. An upload is pattern bytes after the head until the client sends FIN; the backend then answers
// with their number.
//
// A TLS ClientHello takes the place of an exchange's message where a balancer is to route by the name in it. The
// backend sends it back as it came; the tag is in its random.
//
// A connection that is to be refused says nothing and gets nothing: its end,
// by a reset or a FIN without a byte before, is the answer.
//
// # Nothing is lost silently
//
// Every byte of an exchange is compared. In a stream the first 4 MiB are compared whole and each later read at both
// ends; the pattern's period is a prime, so that a lost pipe or buffer of any usual size shows as a shift. A wrong
// byte, an early end or a session that stops answering fails the whole measurement.
package load
