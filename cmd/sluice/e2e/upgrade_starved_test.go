package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// starved are programs that lack something as a new process: what a shell does before it becomes sluice, and what is said
// when that is not enough.
var starved = map[string]struct {
	script string
	says   string // "" = it succeeds
}{
	"no descriptors to start with":         {"ulimit -n 6 && exec", "before it took over"},
	"no descriptors for what listens":      {"ulimit -n 14 && exec", "descriptors"},
	"no descriptors for sessions":          {"ulimit -n 36 && exec", "descriptors"},
	"no memory to start with":              {"ulimit -v 20000 && exec", "before it took over"},
	"no memory":                            {"ulimit -v 80000 && exec", "before it took over"},
	"no room for the log":                  {"exec 2>/dev/full && exec", ""},
	"no log at all":                        {"exec 2>&- && exec", ""},
	"no program":                           {"exit 7 #", "exit status 7"},
	"a program that is ended as it begins": {"kill -9 $$ #", "signal: killed"},
}

// An upgrade to a process that lacks something fails as a whole, or succeeds; no session and no client notices, and the
// next one succeeds.
func TestUpgradeStarved(t *testing.T) {
	t.Parallel()
	for name, c := range starved {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFaulty(t)
			v := f.invite(name)
			program, err := faultyProgram()
			if err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(filepath.Dir(f.config), "starved")
			writeFile(t, binary, "#!/bin/sh\n"+c.script+" "+program+" \"$@\"\n")
			if err := os.Chmod(binary, 0o755); err != nil {
				t.Fatal(err)
			}
			was := f.pid()
			if c.says == "" {
				output(t, f.command("upgrade", "--binary", binary))
				f.untilFollowed(was)
			} else if text := f.refuses(1, "upgrade", "--binary", binary); !strings.Contains(text, c.says) || f.pid() != was {
				t.Errorf("it says %s, want %q, and process %d serves, want %d", text, c.says, f.pid(), was)
			}
			v.goOn()
			f.serves()
			f.upgrades()
			v.goOn()
			if v.dead > 0 {
				t.Errorf("%d sessions were cut", v.dead)
			}
			v.end(name)
			f.untilAlone()
		})
	}
}

// Of two upgrades at the same time the second is refused, also while the first stands still. That one succeeds.
func TestUpgradeTwice(t *testing.T) {
	t.Parallel()
	f := startFaulty(t)
	v, was := f.invite("twice"), f.pid()
	f.arm(faultCase{"received state", 1, "stop"})
	first := f.beginUpgrade()
	pid := f.untilFault(first)
	until(t, "the new process stands still", func() error { return stopped(pid) })
	if text := f.refuses(1, "upgrade"); !strings.Contains(text, "an upgrade is under way") {
		t.Errorf("a second upgrade says %s", text)
	}
	program, err := faultyProgram()
	if err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(program, append(f.args, "--take-over", f.socket)...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "an upgrade is under way") {
		t.Errorf("a process that takes over by itself: %v, %s", err, out)
	}
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if <-first.over; first.err != nil {
		t.Errorf("the first upgrade: %v, %s", first.err, first.text)
	}
	f.untilFollowed(was)
	v.goOn()
	if v.dead > 0 {
		t.Errorf("%d sessions were cut", v.dead)
	}
	v.end("twice")
	f.untilAlone()
}
