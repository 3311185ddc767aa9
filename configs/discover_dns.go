package configs

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"sluice/pool/discovery/dns"
)

// A dnsDraft is a name whose keys are held against each other when all of them were read.
type dnsDraft struct {
	keyNotes
	dns.Config
}

var dnsFields = noteKeys(fields[dnsDraft]{
	{key: "name", read: readDNSName, example: "name: app.internal"},
	port(func(c *dnsDraft) *uint16 { return &c.Port }),
	word("type", dns.Types(), assign, func(c *dnsDraft) *dns.Type { return &c.Type }),
	{key: "resolver", read: readResolvers, shape: shape{"anyOf": []shape{textShape, {"type": "array", "items": textShape}}}},
	duration("min_ttl", time.Millisecond, func(c *dnsDraft) *time.Duration { return &c.MinTTL }),
	duration("max_ttl", time.Millisecond, func(c *dnsDraft) *time.Duration { return &c.MaxTTL }),
})

// readDNS reads NAME:PORT, NAME alone for SRV, or a mapping.
func readDNS(d *decoder, v value, to *sourceDraft) {
	c := dnsDraft{Config: dns.DefaultConfig("", 0)}
	switch v.node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		before := len(d.problems)
		dnsFields.decode(d, v, &c)
		if len(d.problems) == before {
			c.finish(d, v)
		}
	default:
		text, ok := d.string(v, "NAME:PORT, or the name of an SRV record, for example app.internal:8080")
		if !ok {
			return
		}
		name, port, err := splitNamePort(text)
		if err != nil {
			d.reportAt(v, "%v", err)
			return
		}
		c.Config = dns.DefaultConfig(name, port)
	}
	to.DNS = &c.Config
}

// splitNamePort takes app.internal:8080, and _http._tcp.app.internal with or without a port.
func splitNamePort(text string) (name string, port uint16, err error) {
	if err := checkNoURL(text); err != nil {
		return "", 0, err
	}
	name, portText, hasPort := strings.Cut(text, ":")
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil || strings.HasPrefix(text, "[") {
		return "", 0, fmt.Errorf("%s is an address, not a name: write it under backends", quote(text))
	}
	if err := checkDNSName(name); err != nil {
		return "", 0, err
	}
	if hasPort {
		port, err = parsePort(portText, addressRules{})
		return name, port, err
	}
	if config := dns.DefaultConfig(name, 0); !config.AsksSRV() {
		return "", 0, fmt.Errorf("%s has no port: write %s:PORT; only the name of an SRV record, such as _http._tcp.%s, needs none",
			quote(text), name, name)
	}
	return name, 0, nil
}

// checkNoURL refuses what a browser takes.
func checkNoURL(text string) error {
	_, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		return nil
	}
	name, _, _ := strings.Cut(rest, "/")
	return fmt.Errorf("%s is a URL, not a name: write %s", quote(text), cmp.Or(unquoted(name), "the name alone"))
}

// maxLabel is how long a part of a name between dots may be, see RFC 1035, 2.3.4.
const maxLabel = 63

func checkDNSName(name string) error {
	if name == "" {
		return errors.New("the name is empty: write one, for example app.internal")
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return fmt.Errorf("%s is an address, not a name: write it under backends", quote(name))
	}
	if err := checkHostName(name); err != nil {
		return err
	}
	for label := range strings.SplitSeq(name, ".") {
		if len(label) > maxLabel {
			return fmt.Errorf("%s has %d characters between two dots: a name in DNS has at most %d there", quote(name), len(label), maxLabel)
		}
	}
	return nil
}

func readDNSName(d *decoder, v value, to *dnsDraft) {
	text, ok := d.string(v, "a name in DNS, for example app.internal")
	if !ok {
		return
	}
	if err := checkNoURL(text); err != nil {
		d.reportAt(v, "%v", err)
		return
	}
	if name, port, hasPort := strings.Cut(text, ":"); hasPort && strings.Trim(port, "0123456789") == "" {
		d.reportAt(v, "name %s has a port: write name: %s and port: %s", quote(text), unquoted(name), port)
		return
	}
	if err := checkDNSName(text); err != nil {
		d.reportAt(v, "%v", err)
		return
	}
	to.Name = strings.ToLower(text)
}

// finish holds the keys of a name against each other.
func (c *dnsDraft) finish(d *decoder, v value) {
	if c.Port == 0 && !c.AsksSRV() {
		d.report(v.at, "dns has no port, and the addresses of %s have none either: add one, for example port: 8080", quote(c.Name))
	}
	if c.MinTTL <= c.MaxTTL {
		return
	}
	low, hasLow := c.given["min_ttl"]
	high, hasHigh := c.given["max_ttl"]
	switch {
	case hasLow && hasHigh:
		d.reportAt(low, "min_ttl is %v and max_ttl %v: write a max_ttl that is no less", c.MinTTL, c.MaxTTL)
	case hasLow:
		d.reportAt(low, "min_ttl is %v, more than max_ttl, which is %v by default: write max_ttl too", c.MinTTL, c.MaxTTL)
	default:
		d.reportAt(high, "max_ttl is %v, less than min_ttl, which is %v by default: write min_ttl too", c.MaxTTL, c.MinTTL)
	}
}

// readResolvers reads the servers to ask. An empty list is those of resolv.conf, as no list at all.
func readResolvers(d *decoder, v value, to *dnsDraft) {
	const want = "the address of a name server, for example 10.0.0.53 or 10.0.0.53:5353, or a list of them"
	if list, ok := v.node.(*ast.SequenceNode); ok && len(list.Values) == 0 {
		return
	}
	seen := make(map[netip.AddrPort]bool)
	for _, item := range d.items(v, want) {
		text, ok := d.string(item, want)
		if !ok {
			continue
		}
		server, err := parseResolver(text)
		switch {
		case err != nil:
			d.reportAt(item, "resolver %s is no IP address to ask at: write %s", quote(text), want)
		case seen[server]:
			d.reportAt(item, "resolver %s is given twice: remove one of them", server)
		default:
			seen[server] = true
			to.Resolvers = append(to.Resolvers, server)
		}
	}
}

// dnsPort is where name servers listen.
const dnsPort = 53

func parseResolver(text string) (netip.AddrPort, error) {
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && !ip.IsUnspecified() && !ip.IsMulticast() {
		return netip.AddrPortFrom(ip.Unmap(), dnsPort), nil
	}
	server, err := netip.ParseAddrPort(text)
	if err == nil && (server.Port() == 0 || server.Addr().IsUnspecified() || server.Addr().IsMulticast()) {
		err = errors.New("nobody can be asked there")
	}
	return netip.AddrPortFrom(server.Addr().Unmap(), server.Port()), err
}
