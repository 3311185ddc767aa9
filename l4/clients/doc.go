// Package clients decides which clients may come in and how many sessions each may have and begin. It knows no session:
// it is told of an address that comes and of one that leaves, and what time it is. Its tables are shared by all loops.
package clients
