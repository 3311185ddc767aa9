package dns

import (
	"fmt"
	"strings"
	"testing"

	"sluice/pool/discovery/dns/dnstest"
)

// TestDnsmasq: a name of dnsmasq gets more addresses and fewer, goes away and comes back; then dnsmasq does.
func TestDnsmasq(t *testing.T) {
	server := dnstest.Address(t)
	d := dnstest.NewDnsmasq(t, server, "--cname=alias.internal,app.internal",
		"--srv-host=_pg._tcp.internal,app.internal,5432,10,70", "--srv-host=_pg._tcp.internal,other.internal,5433,20,30")
	d.Serve("10.0.0.1 app.internal\n")
	app := observe(t, "app.internal", server)
	app.until("10.0.0.1:80")
	d.Serve("10.0.0.2 app.internal\n10.0.0.1 app.internal\nfd00::1 app.internal\n10.0.1.1 other.internal\n")
	app.until("10.0.0.1:80 10.0.0.2:80 [fd00::1]:80")
	observe(t, "ALIAS.internal.", server).until("10.0.0.1:80 10.0.0.2:80 [fd00::1]:80")
	observe(t, "_pg._tcp.internal", server).until("10.0.0.1:5432/70 10.0.0.2:5432/70 10.0.1.1:5433/30/backup [fd00::1]:5432/70")
	observe(t, "elsewhere.example", server).until("error: REFUSED")
	var many, all []string // more than one packet has room for
	for i := range 200 {
		many = append(many, fmt.Sprintf("10.0.2.%d app.internal\n", i))
		all = append(all, fmt.Sprintf("10.0.2.%d:80", i))
	}
	d.Serve(strings.Join(many, ""))
	app.until(strings.Join(all, " "))
	d.Serve("10.0.1.1 other.internal\n")
	app.until("") // NXDOMAIN
	d.Stop()
	app.until("error: connection refused")
	d.Serve("10.0.0.9 app.internal\n")
	app.until("10.0.0.9:80")
}
