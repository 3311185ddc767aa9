// Package route finds where a session goes by what its first bytes say: rules with server
// names, protocols, databases and users, and a look-up in them whose cost does not grow with
// their number. It knows no session and no target: it answers with the number of a rule.
package route
