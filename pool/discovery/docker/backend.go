package docker

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"sluice/pool"
	"sluice/pool/discovery"
)

// Found returns the backends of a pool among an engine's containers, and what is wrong with those containers that say that
// they are of the pool and cannot be one. The containers are all that there are.
func (c *Config) Found(all []Container) (found []discovery.Found, warnings []string) {
	for i := range all {
		one := &all[i]
		if one.Labels[LabelPool] != c.Pool || one.state == dead { // the dead have no address
			continue
		}
		f, err := c.backend(one, all)
		switch {
		case err != nil:
			warnings = append(warnings, "container "+one.Name+": "+err.Error())
		case one.Serves:
			found = append(found, f)
		}
	}
	return found, warnings
}

// backend returns the backend that a container is.
func (c *Config) backend(one *Container, all []Container) (f discovery.Found, err error) {
	f.Name = one.Name
	if err := CheckLabels(one.Labels); err != nil {
		return f, err
	}
	if f.Settings, err = settingsOf(one.Labels); err != nil {
		return f, err
	}
	holder, err := holder(one, all)
	if err != nil {
		return f, err
	}
	port, err := c.port(one, holder)
	if err != nil {
		return f, err
	}
	ip, err := c.address(one, holder)
	f.Address = pool.Address{TCP: netip.AddrPortFrom(ip, port)}
	return f, err
}

// holder returns the container whose networks another one is in: its own, unless it was started to share those of one.
func holder(one *Container, all []Container) (*Container, error) {
	for range 8 { // it may share with one that shares, and the engine refuses what has no end
		other, shares := strings.CutPrefix(one.mode, "container:")
		if !shares {
			return one, nil
		}
		i := slices.IndexFunc(all, func(c Container) bool { return c.ID == other || c.Name == other })
		if i < 0 {
			return nil, fmt.Errorf("it shares the networks of container %.12s, which does not run", other)
		}
		one = &all[i]
	}
	return nil, fmt.Errorf("it shares the networks of container %s, which shares those of others without end", one.Name)
}

// port returns the one that a container's server listens on.
func (c *Config) port(one, holder *Container) (uint16, error) {
	if text, ok := one.Labels[LabelPort]; ok {
		n, err := number(LabelPort, text, 1, 1<<16-1)
		if err != nil {
			return 0, err
		}
		return uint16(*n), nil
	}
	if c.Port != 0 {
		return c.Port, nil
	}
	exposed := one.ports
	if len(exposed) == 0 {
		exposed = holder.ports
	}
	switch len(exposed) {
	case 1:
		return exposed[0], nil
	case 0:
		return 0, fmt.Errorf("it exposes no TCP port: say which one with the label %s", LabelPort)
	}
	var texts []string
	for _, p := range exposed {
		texts = append(texts, strconv.Itoa(int(p)))
	}
	return 0, fmt.Errorf("it exposes the ports %s: say which one with the label %s", listed(texts), LabelPort)
}

// address returns where a container is reached.
func (c *Config) address(one, holder *Container) (netip.Addr, error) {
	if holder.mode == "host" {
		return c.engineHost()
	}
	var names []string
	for name, ip := range holder.networks {
		if ip.IsValid() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	wanted := one.Labels[LabelNetwork]
	if wanted == "" {
		wanted = c.Network
	}
	switch {
	case wanted != "" && holder.networks[wanted].IsValid():
		return holder.networks[wanted], nil
	case wanted != "":
		return netip.Addr{}, fmt.Errorf("it has no address on the network %s; those where it has one: %s", wanted, listed(names))
	case len(names) == 1:
		return holder.networks[names[0]], nil
	case len(names) == 0:
		return netip.Addr{}, fmt.Errorf("it is in no network where it has an address")
	}
	return netip.Addr{}, fmt.Errorf("it is in the networks %s: say which one with the label %s, or with network in the pool's discover",
		listed(names), LabelNetwork)
}

// engineHost returns where a container is reached that has the network of the engine's host.
func (c *Config) engineHost() (netip.Addr, error) {
	address, remote := strings.CutPrefix(c.Socket, "tcp://")
	if !remote {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1}), nil
	}
	host := hostOf(address)
	ip, err := netip.ParseAddr(host)
	if err != nil {
		return ip, fmt.Errorf("it has the network of its host, %s: write the IP address of that in socket", host)
	}
	return ip.Unmap(), nil
}
