package main

import (
	"fmt"
	"io"
	"path/filepath"
	"time"

	"sluice/bench/record"
)

// An environment is what a result depends on besides the code.
type environment struct {
	record.Machine
	rounds   int
	duration time.Duration
	quick    bool
}

func readEnvironment(bin string, systems []system) environment {
	var versions []string
	seen := make(map[string]bool)
	for _, s := range systems {
		if !seen[s.rival] && s.rival != tuned { // the same program as HAProxy
			seen[s.rival] = true
			versions = append(versions, version(s.rival, bin))
		}
	}
	return environment{Machine: record.ReadMachine(versions...)}
}

// version asks a program for its version; "" stays out of the table's head.
func version(rival, bin string) string {
	switch rival {
	case sluice:
		return record.Version(filepath.Join(bin, "sluice"), "version")
	case haproxy:
		return record.Version("haproxy", "-v")
	case nginx:
		return record.Version("nginx", "-v")
	}
	return rival + " (bench/iocopy)"
}

// name is what a result is kept under. A quick run does not take the place of
// a full one of the same day and commit.
func (e *environment) name() string {
	if e.quick {
		return e.Name("quick")
	}
	return e.Name()
}

func (e *environment) write(w io.Writer) {
	kind := "all rows"
	if e.quick {
		kind = "main rows"
	}
	fmt.Fprintf(w, "# Benchmark of %s, commit %s\n\n", e.Date.Format(time.DateOnly), e.Commit)
	fmt.Fprintf(w, "%s, %d rounds, %v per measurement, medians; method in bench/README.md\n\n", kind, e.rounds, e.duration)
	e.Machine.Write(w)
}
