package e2e

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// systemd understands every line of the unit in configs, and finds that the service may do little. The exposure is at
// most 2.0 of 10; what is left is the network, CAP_NET_BIND_SERVICE, and the limits below /proc/sys that sluice reads.
func TestUnits(t *testing.T) {
	t.Parallel()
	const installed, units, exposure = "/usr/local/bin/sluice", "../../../configs/", "--threshold=20"
	dir := tempDir(t)
	service := filepath.Join(dir, "sluice.service")
	text := readFile(t, units+"sluice.service")
	if strings.Count(text, "ExecStart="+installed+" run ") != 1 {
		t.Fatalf("the unit does not start %s", installed)
	}
	writeFile(t, service, strings.ReplaceAll(text, installed, sluiceProgram))
	analyze := program(t, "systemd-analyze")
	for _, args := range [][]string{
		{"verify", "--man=no", service},
		{"security", "--offline=true", exposure, service},
	} {
		out, err := command(t, analyze, args...).CombinedOutput()
		if err != nil {
			t.Errorf("systemd-analyze %v: %v\n%s", args, err, out)
		}
		if args[0] == "verify" && len(out) > 0 { // what it does not know it ignores, and says so
			t.Errorf("systemd-analyze %v:\n%s", args, out)
		}
	}
	// The test would see a line that is wrong, and a service that may do more.
	writeFile(t, service, strings.Replace(text, "SystemCallFilter=", "SystemCalFilter=", 1))
	if out, _ := command(t, analyze, "verify", "--man=no", service).CombinedOutput(); !strings.Contains(string(out), "SystemCalFilter") {
		t.Errorf("a wrong key is not found: %s", out)
	}
	if err := command(t, analyze, "security", "--offline=true", exposure, service).Run(); err == nil {
		t.Error("a service that may make every system call is well locked down")
	} else if _, ok := err.(*exec.ExitError); !ok {
		t.Error(err)
	}
}
