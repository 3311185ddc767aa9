package dnstest

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A Knot is a Knot DNS with one zone, internal. It knows nothing else, and asks nobody. Records of one name come in another
// order with each answer.
type Knot struct {
	At  netip.AddrPort
	t   testing.TB
	dir string
	end func()
}

// StartKnot starts one with these records besides those that every zone has. A missing name is good for 7 seconds.
func StartKnot(t testing.TB, at netip.AddrPort, records ...string) *Knot {
	t.Helper()
	k := &Knot{t: t, At: at, dir: t.TempDir()}
	write(t, filepath.Join(k.dir, "conf"), fmt.Sprintf(knotConf, k.dir, at.Addr(), at.Port()))
	k.write(records)
	k.Start()
	return k
}

const knotConf = `
server:
  rundir: %[1]s
  listen: %[2]s@%[3]d
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
  answer-rotation: on
database:
  storage: %[1]s
control:
  listen: %[1]s/knot.sock
zone:
  - domain: internal
    storage: %[1]s
    file: zone
    zonefile-sync: -1
    zonefile-load: whole
    journal-content: none
`

// Start starts it again after Stop, with the zone that it had.
func (k *Knot) Start() {
	k.t.Helper()
	k.end = Run(k.t, "knotd", "-c", filepath.Join(k.dir, "conf"))
}

// Stop ends the server: nobody listens any more.
func (k *Knot) Stop() { k.end() }

func (k *Knot) write(records []string) {
	k.t.Helper()
	text := "internal. 7 SOA ns.internal. root.internal. 1 1 1 1 9\ninternal. 30 NS ns.internal.\nns.internal. 30 A 127.0.0.1\n"
	write(k.t, filepath.Join(k.dir, "zone"), text+strings.Join(records, "\n")+"\n")
}

// Serve changes the zone.
func (k *Knot) Serve(records ...string) {
	k.t.Helper()
	k.write(records)
	k.control("zone-reload", "internal")
}

// Lose lets the zone expire: the server says SERVFAIL until it is served another one.
func (k *Knot) Lose() {
	k.t.Helper()
	if err := os.Remove(filepath.Join(k.dir, "zone")); err != nil {
		k.t.Fatal(err)
	}
	k.control("-f", "zone-purge", "internal")
}

// patience is how long a server may take to listen to commands.
const patience = 30 * time.Second

// control tells the server, which may just have been started.
func (k *Knot) control(args ...string) {
	k.t.Helper()
	args = append([]string{"-b", "-s", filepath.Join(k.dir, "knot.sock")}, args...)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, err := exec.Command(program(k.t, "knotc"), args...).CombinedOutput()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			k.t.Fatalf("knotc %q: %v: %s", args, err, out)
		}
	}
}
