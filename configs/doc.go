// Package configs turns a YAML file into the typed settings of a load balancer, or into a list of everything that is
// wrong with it.
//
//	bytes ──► checkText ──► YAML parser ──► field tables ──► cross-checks ──► names resolved ──► probes made ───► File
//	            │               │               │                │                 │                 │
//	            └───────────────┴───────────────┴────────────────┴─────────────────┴─────────────────┴──► Problems
//
// Decoding is strict: an unknown or repeated key, a value of the wrong type, a number out of its range, a time without a
// unit, a pool that does not exist are problems. All of them are reported at once, each with its line and column.
//
// The keys are the tables in schema.go. No setting is ever accepted and ignored.
//
// A route that no session could get to, because an earlier one takes them all, is a problem, too. What the files of allow
// and deny hold is checked when the configuration is loaded, and read again when it is used: see Listener.ReadAccess.
//
// Certificates and passwords that checks need are read from the files that the configuration names. No problem quotes what
// is in them, nor a password that somebody wrote into the configuration.
//
// Several files are one configuration; every place says which file it is in. Aliases, merge keys and ${VARIABLES} are
// replaced in what the YAML parser makes, so that none of them changes how anything else is read. Tags, directives and
// several documents in one file are refused.
//
// What a file can cost is bounded before the YAML library gets it: its parser takes a time with the square of some
// things, and recurses (see tokens.go and blocks.go). The first hundred problems are kept, the others counted.
package configs
