package main

import (
	"fmt"
	"strings"
)

// The names that a system routes by: the one that is asked for stands in the
// middle and leads to pool bench. All others, and what has no name of these,
// lead to pool other, whose only backend does not exist, so that a wrong turn
// is an error.
const (
	nameCount    = 100
	otherBackend = "127.0.0.1:1"
)

var askedName = serverName(nameCount / 2)

func serverName(i int) string { return fmt.Sprintf("host%02d.bench.example", i) }

// nameLines is a line per name: format has places for name and pool.
func nameLines(format string) string {
	var b strings.Builder
	for i := range nameCount {
		pool := "other"
		if serverName(i) == askedName {
			pool = "bench"
		}
		fmt.Fprintf(&b, format, serverName(i), pool)
	}
	return b.String()
}
