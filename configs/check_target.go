package configs

import (
	"net/netip"
	"slices"
	"strings"

	"sluice/health/probe"
	"sluice/l4"
	"sluice/pool"
)

// readCheckAddress reads a host with or without a port; without one the backend's port counts.
func readCheckAddress(d *decoder, v value, to *check) {
	const want = "the address to ask in place of the backend's, HOST or HOST:PORT"
	text, ok := d.string(v, want)
	if !ok {
		return
	}
	to.address = new(pool.Address)
	if !isHost(text) {
		d.address(d.place(v.node), text, addressRules{}, to.address)
		return
	}
	ip, name, err := parseHost(strings.Trim(text, "[]"), addressRules{})
	switch {
	case err != nil:
		d.reportAt(v, "%v", err)
	case name != "":
		d.hosts = append(d.hosts, hostName{at: d.place(v.node), host: name, to: to.address})
	default:
		to.address.TCP = netip.AddrPortFrom(ip, 0)
	}
}

// isHost reports whether text is an IP or a name without a port.
func isHost(text string) bool {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return true
	}
	return text != "" && !strings.ContainsAny(text, ":/")
}

// finishTarget says whom to ask, and whether the PROXY header goes first: as for sessions, unless somebody else is asked.
func (c *check) finishTarget(d *decoder, p *Pool) {
	c.Probe.Port = uint16(c.port)
	c.checkTarget(d, p)
	_, elsewhere := c.given["address"]
	_, otherPort := c.given["port"]
	send, given := c.given["send_proxy"]
	switch {
	case given && c.sendProxy && p.SendProxy == l4.ProxyOff:
		d.reportAt(send, "send_proxy is true, and the pool sends no PROXY header: set the pool's send_proxy to v1 or v2")
	case given && c.sendProxy, !given && !elsewhere && !otherPort:
		c.Probe.ProxyVersion = uint8(p.SendProxy)
	}
}

// checkTarget reports an address and a port that contradict each other, and backends that leave the port open.
func (c *check) checkTarget(d *decoder, p *Pool) {
	address, elsewhere := c.has("address")
	port, otherPort := c.has("port")
	onUnix := slices.IndexFunc(p.Config.Backends, func(b pool.BackendConfig) bool { return b.Address.IsUnix() })
	switch {
	case c.bad["address"] || c.bad["port"]:
	case elsewhere && otherPort && c.address.IsUnix():
		d.reportAt(port, "port is of no use with the address of a Unix socket: remove it")
	case elsewhere && otherPort && c.address.TCP.Port() != 0:
		d.reportAt(port, "port is %d, and the address has a port of its own: remove one of them", c.port)
	case onUnix < 0:
	case otherPort && !elsewhere:
		d.reportAt(port, "port is of no use for a backend on a Unix socket, %s: write the address to ask as well",
			quote(p.Config.Backends[onUnix].Name))
	case elsewhere && !otherPort && !c.address.IsUnix() && c.address.TCP.Port() == 0:
		d.reportAt(address, "address has no port, and neither has the backend on a Unix socket, %s: write HOST:PORT",
			quote(p.Config.Backends[onUnix].Name))
	}
}

// A checkSite is a check of a pool, and where to report what is found out at the end only.
type checkSite struct {
	index   int // in File.Pools
	at      place
	address *pool.Address // nil: the check has none
}

// tryChecks completes the checks when host names are resolved. A configuration that is otherwise good is held to what
// the probes themselves say of it, so that what passes here also starts.
func (d *decoder) tryChecks(file *File) {
	for _, c := range d.checks {
		if c.address != nil {
			file.Pools[c.index].Health.Probe.Address = *c.address
		}
	}
	if len(d.problems) > 0 {
		return
	}
	for _, c := range d.checks {
		d.tryCheck(c.at, &file.Pools[c.index])
	}
}

func (d *decoder) tryCheck(at place, p *Pool) {
	if p.Health.Probe.Kind == probe.Off || d.offline { // a prober reads files
		return
	}
	for _, b := range p.Config.Backends {
		if err := tryProbe(p.Health.Probe, b.Address); err != nil {
			d.report(at, "check cannot ask backend %s: %v", quote(b.Name), err)
			return
		}
	}
	for _, e := range p.Entries { // any address, whatever it will find
		address := pool.Address{TCP: netip.AddrPortFrom(netip.IPv6Loopback(), 1)}
		if err := tryProbe(p.Health.Probe, address); err != nil {
			d.report(at, "check cannot ask backends of %s: %v", e.title(), err)
			return
		}
	}
}

func tryProbe(config probe.Config, address pool.Address) error {
	prober, err := probe.New(config, address)
	if err != nil {
		return err
	}
	prober.Close()
	return nil
}
