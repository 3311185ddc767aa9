package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// trackConfig is of a keepalived that goes by the name of a process, in a network that it enters itself: the kernel tells
// of processes in the first network namespace only.
const trackConfig = `
net_namespace %s
vrrp_track_process sluice {
    process %s
}
vrrp_instance https {
    state BACKUP
    interface switch
    virtual_router_id 51
    priority 100
    version 3
    advert_int 0.1
    unicast_src_ip 192.0.2.2
    unicast_peer {
        192.0.2.3
    }
    virtual_ipaddress {
        192.0.2.10/24
    }
    track_process {
        sluice weight 0
    }
}
`

// keepalived that tracks the process keeps the address over upgrades, and gives it up when no process is left.
func TestUpgradeKeepalived(t *testing.T) {
	t.Parallel()
	name := fmt.Sprint("sluice-", os.Getpid()) // other tests run sluice
	linked := filepath.Join(tempDir(t), name)
	if err := os.Link(sluiceProgram, linked); err != nil {
		t.Fatal(err)
	}
	u := startUpgradable(t, "sh", "-c", `shift; exec "$0" "$@"`, linked)
	n := &network{t: t, name: fmt.Sprintf("sluice-track-%d", os.Getpid())}
	n.ip("netns", "add", n.name)
	t.Cleanup(func() { n.ip("netns", "delete", n.name) })
	n.inside("link", "add", "switch", "type", "bridge")
	n.inside("link", "add", "port", "type", "veth", "peer", "name", "other")
	n.inside("link", "set", "port", "master", "switch", "up")
	n.inside("link", "set", "other", "up")
	n.inside("addr", "add", "192.0.2.2/24", "dev", "switch")
	n.inside("link", "set", "switch", "up")

	dir := tempDir(t)
	file := filepath.Join(dir, "keepalived.conf")
	writeFile(t, file, fmt.Sprintf(trackConfig, n.name, name))
	keepalived := start(t, "keepalived", dir, exec.Command(program(t, "keepalived"), "--dont-fork", "--log-console", "--log-detail",
		"--vrrp", "--use-file", file, "--pid", filepath.Join(dir, "pid"), "--vrrp_pid", filepath.Join(dir, "vrrp.pid")))
	says := func(what string) int { return strings.Count(readFile(t, keepalived.log), what) }
	until(t, "keepalived has the address", func() error {
		if says("Entering MASTER STATE") == 0 || says("proc_events has confirmed") == 0 {
			return errors.New("its log does not say so")
		}
		return nil
	})
	for range 3 {
		u.upgrades()
	}
	if err := syscall.Kill(u.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	u.gone = true
	until(t, "keepalived gives the address up", func() error {
		if says("Quorum lost") == 0 || says("sent 0 priority") == 0 {
			return errors.New("its log does not say so")
		}
		return nil
	})
	// It has seen all upgrades by then: it is told in the order in which things happen.
	if n := says("Quorum lost"); n != 1 || says("Entering MASTER STATE") != 1 {
		t.Errorf("keepalived has lost sluice %d times, want once:\n%s", n, readFile(t, keepalived.log))
	}
}
