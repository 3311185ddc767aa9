// Package route finds where a session goes by what its first bytes say: rules with server names, protocols, databases
// and users, a look-up in them whose cost does not grow with their number, and what of the rules no session gets to. It
// knows no session and no target: it answers with the number of a rule.
package route
