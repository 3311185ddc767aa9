// Package record is what the dated results have in common: the machine they come from, the file they are kept in, and
// how they write figures and tables; and how the programs that measure begin and end.
package record
