// Package systest has what the tests of several packages ask of the kernel: ports of their own, the table of TCP sockets,
// the descriptors that are open, a user without privileges.
package systest
