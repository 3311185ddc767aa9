package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// An environment is what a result depends on besides the code.
type environment struct {
	date     time.Time
	commit   string // short, "-dirty" when the tree differs from it
	kernel   string
	cpu      string
	cores    int
	load     string // load average at the start
	versions []string
	rounds   int
	duration time.Duration
	quick    bool
}

func readEnvironment(bin string, systems []system) environment {
	e := environment{date: time.Now(), commit: commit(), cores: runtime.NumCPU(),
		kernel: firstLine("/proc/sys/kernel/osrelease"), load: firstLine("/proc/loadavg"), cpu: cpuModel()}
	e.versions = append(e.versions, "Go "+strings.TrimPrefix(runtime.Version(), "go"))
	seen := make(map[string]bool)
	for _, s := range systems {
		if !seen[s.rival] && s.rival != tuned { // the same program as HAProxy
			seen[s.rival] = true
			e.versions = append(e.versions, version(s.rival, bin))
		}
	}
	return e
}

// version asks a program for its version; "" stays out of the table's head.
func version(rival, bin string) string {
	switch rival {
	case sluice:
		return output(filepath.Join(bin, "sluice"), "version")
	case haproxy:
		return output("haproxy", "-v")
	case nginx:
		return output("nginx", "-v")
	}
	return rival + " (bench/iocopy)"
}

// output returns the first line that a command prints, on either stream.
func output(name string, args ...string) string {
	text, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		return fmt.Sprintf("%s: version unknown (%v)", filepath.Base(name), err)
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimSpace(line)
}

func commit() string {
	hash, err := exec.Command("git", "rev-parse", "--short", "HEAD").Output()
	if err != nil {
		return "none"
	}
	name := strings.TrimSpace(string(hash))
	// Results of earlier runs are no change of what is measured.
	changes, err := exec.Command("git", "status", "--porcelain", "--", ":/", ":(exclude,top)bench/results").Output()
	if err != nil || len(changes) > 0 {
		name += "-dirty"
	}
	return name
}

func firstLine(file string) string {
	text, err := os.ReadFile(file)
	if err != nil {
		return "unknown"
	}
	line, _, _ := strings.Cut(string(text), "\n")
	return line
}

func cpuModel() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown"
	}
	return modelName(string(text))
}

func modelName(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown"
}

// fileName is where a result is kept. A quick run does not take the place of
// a full one of the same day and commit.
func (e *environment) fileName() string {
	name := e.date.Format(time.DateOnly) + "-" + e.commit
	if e.quick {
		name += "-quick"
	}
	return name + ".md"
}

func (e *environment) write(w io.Writer) {
	kind := "all rows"
	if e.quick {
		kind = "main rows"
	}
	fmt.Fprintf(w, "# Benchmark of %s, commit %s\n\n", e.date.Format(time.DateOnly), e.commit)
	fmt.Fprintf(w, "%s, %d rounds, %v per measurement, medians; method in bench/README.md\n\n", kind, e.rounds, e.duration)
	fmt.Fprintf(w, "- kernel %s, %s, %d cores, load average at the start %s\n", e.kernel, e.cpu, e.cores, e.load)
	for _, v := range e.versions {
		fmt.Fprintf(w, "- %s\n", v)
	}
	fmt.Fprintln(w)
}
