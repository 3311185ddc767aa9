package dnstest

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
)

// A Dnsmasq answers for names below internal, and for nothing else.
type Dnsmasq struct {
	t     testing.TB
	hosts string
	args  []string
	end   func()
}

// NewDnsmasq returns one that is not running yet, with more arguments than those that it needs.
func NewDnsmasq(t testing.TB, at netip.AddrPort, args ...string) *Dnsmasq {
	t.Helper()
	d := &Dnsmasq{t: t, hosts: filepath.Join(t.TempDir(), "hosts"), end: func() {}}
	d.args = append([]string{"--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts", "--log-facility=-", "--pid-file=",
		"--bind-interfaces", "--listen-address=" + at.Addr().String(), fmt.Sprintf("--port=%d", at.Port()),
		"--local=/internal/", "--addn-hosts=" + d.hosts}, args...)
	if os.Getuid() == 0 {
		d.args = append(d.args, "--user=root") // another could not read the folder
	}
	return d
}

// Serve starts it with another hosts file; one that runs ends before.
func (d *Dnsmasq) Serve(hosts string) {
	d.t.Helper()
	d.Stop()
	write(d.t, d.hosts, hosts)
	d.end = Run(d.t, "dnsmasq", d.args...)
}

// Stop ends the server: nobody listens any more.
func (d *Dnsmasq) Stop() { d.end() }
