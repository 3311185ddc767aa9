package configs

import (
	"net/netip"
	"slices"

	"sluice/pool"
)

// A sourceSite is where a pool says from which addresses its backends are connected to.
type sourceSite struct {
	index int // in File.Pools
	at    place
}

func readPoolSources(d *decoder, v value, to *poolDraft) {
	const want = "an address of this machine, for example 10.0.0.5, or a list of them"
	for _, item := range d.items(v, want) {
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		addr, err := netip.ParseAddr(text)
		switch addr = addr.Unmap(); {
		case err != nil:
			d.reportAt(item, "source must be %s, without a port, not %s", want, quote(text))
		case addr.IsUnspecified() || addr.IsMulticast() || addr.Zone() != "":
			d.reportAt(item, "source %s is no address that a connection can come from: write %s", addr, want)
		case slices.Contains(to.Sources, addr):
			d.reportAt(item, "source %s is given twice: remove one of them", addr)
		default:
			to.Sources = append(to.Sources, addr)
		}
	}
	to.sourcesAt = d.place(v.node)
}

// finishSources lets the check ask from where sessions connect.
func (p *poolDraft) finishSources(d *decoder, index int) {
	if len(p.Sources) > 0 {
		p.check.Probe.Sources = p.Sources
		d.sourceSites = append(d.sourceSites, sourceSite{index, p.sourcesAt})
	}
}

// checkSources holds the addresses of backends, which are all known now, against those they are connected to from.
func (d *decoder) checkSources(file *File) {
	if len(d.problems) > 0 {
		return
	}
	for _, site := range d.sourceSites {
		p := &file.Pools[site.index]
		tcp := len(p.Entries) > 0 // of what they find nobody knows the family yet
		for _, b := range p.Config.Backends {
			if b.Address.IsUnix() {
				continue
			}
			tcp = true
			if b.Address.TCP.Addr().IsValid() && len(pool.SourcesFor(b.Address, p.Sources)) == 0 {
				d.report(site.at, "source has no address of the family of backend %s, %s: add one, for example %s", quote(b.Name),
					b.Address, sampleSource(b.Address))
			}
		}
		if !tcp {
			d.report(site.at, "source is of no use: every backend of pool %s is a Unix socket: remove it", quote(p.Config.Name))
		}
	}
}

func sampleSource(server pool.Address) string {
	if server.TCP.Addr().Unmap().Is4() {
		return "10.0.0.5"
	}
	return "fd00::5"
}
