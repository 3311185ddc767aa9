package main

import (
	"log/slog"
	"net"
	"net/netip"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
	"sluice/pool"
	"sluice/sysutil"
)

// sourcePorts is how many connections there can be from one address of this machine to one of a server.
func sourcePorts() int {
	low, high := sysutil.LocalPorts()
	return int(high) - int(low) + 1
}

// logPorts names the pools that can have fewer connections than there may be sessions, for want of source ports, and the
// sources that are not of this machine.
func logPorts(log *slog.Logger, file *configs.File, limits admin.Limits, ports int) {
	bound := 0
	for i := range file.Pools {
		p := &file.Pools[i]
		if most, servers := portBound(p, ports); servers > 0 && (limits.Sessions == 0 || most < limits.Sessions) {
			if bound++; bound <= portLines {
				log.Info("source ports bound the connections of a pool: source gives it more", "pool", p.Config.Name,
					"connections", most, "servers", servers, "sources", len(p.Sources), "source_ports", ports)
			}
		}
		for _, source := range p.Sources {
			if err := isOfThisMachine(source); err != nil {
				log.Warn("a source address cannot be used now", "pool", p.Config.Name, "source", source, "error", err)
			}
		}
	}
	if more := bound - portLines; more > 0 {
		log.Info("source ports bound the connections of more pools", "pools", more)
	}
}

// portLines is how many pools have a line of their own about that.
const portLines = 10

// portBound is how many connections a pool can have when each of its sources, or the one that the kernel chooses, has so
// many ports to each server. A Unix socket needs none: servers is then 0, for no bound.
func portBound(p *configs.Pool, ports int) (most, servers int) {
	if len(p.Entries) > 0 { // nobody knows how many servers there will be
		return 0, 0
	}
	seen := make(map[pool.Address]bool)
	for _, b := range p.Config.Backends {
		if b.Address.IsUnix() {
			return 0, 0
		}
		if !seen[b.Address] {
			seen[b.Address] = true
			most += ports * max(len(pool.SourcesFor(b.Address, p.Sources)), 1)
		}
	}
	return most, len(seen)
}

// isOfThisMachine returns why an address cannot be bound.
func isOfThisMachine(source netip.Addr) error {
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(source, 0)))
	if err != nil {
		return err
	}
	return conn.Close()
}
