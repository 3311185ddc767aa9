// Package proc reads from /proc what a process and its descendants use: CPU time, memory and descriptors. See proc(5).
package proc
