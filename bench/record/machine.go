package record

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

// A Machine is what a result depends on besides the code, and the commit of that.
type Machine struct {
	Date     time.Time
	Commit   string // short, "-dirty" when the tree differs from it
	Kernel   string
	CPU      string
	Cores    int
	Load     string   // load average when it was read
	Versions []string // of the programs that were measured
}

// ReadMachine describes this machine as it is now; versions are named besides Go's.
func ReadMachine(versions ...string) Machine {
	return Machine{Date: time.Now(), Commit: commit(), Cores: runtime.NumCPU(), CPU: cpuModel(),
		Kernel: firstLine("/proc/sys/kernel/osrelease"), Load: firstLine("/proc/loadavg"),
		Versions: append([]string{"Go " + strings.TrimPrefix(runtime.Version(), "go")}, versions...)}
}

// Name is the day and the commit, with what is added to tell results of the same from each other.
func (m *Machine) Name(kind ...string) string {
	return strings.Join(append([]string{m.Date.Format(time.DateOnly), m.Commit}, kind...), "-")
}

// Write lists the machine and the versions.
func (m *Machine) Write(w io.Writer) {
	fmt.Fprintf(w, "- kernel %s, %s, %d cores, load average at the start %s\n", m.Kernel, m.CPU, m.Cores, m.Load)
	for _, v := range m.Versions {
		fmt.Fprintf(w, "- %s\n", v)
	}
	fmt.Fprintln(w)
}

// Version returns the first line that a command prints, on either stream.
func Version(name string, args ...string) string {
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
