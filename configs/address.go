package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"sluice/l4/clients"
	"sluice/pool"
)

// addressRules say which addresses make sense in one place. The zero value is for something to connect to.
type addressRules struct {
	listen bool // an empty host and port 0 are fine
	noUnix bool
}

func (r addressRules) want() string {
	example := "10.0.0.1:80"
	if r.listen {
		example = `":8080"`
	}
	if r.noUnix {
		return "an address (HOST:PORT or [IPV6]:PORT), for example " + example
	}
	return "an address (HOST:PORT, [IPV6]:PORT or unix:/PATH), for example " + example
}

// parseAddress parses "host:port", "[v6]:port", ":port" and "unix:/path". When the host is a name, it returns the name
// and an address that has only the port.
func parseAddress(text string, rules addressRules) (a pool.Address, host string, err error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		if rules.noUnix {
			return a, "", fmt.Errorf("%s: a Unix socket is not possible here: write HOST:PORT", quote(text))
		}
		if err := checkSocketAddress(path); err != nil {
			return a, "", err
		}
		return pool.Address{Unix: path}, "", nil
	}
	host, portText, err := splitHostPort(text, rules)
	if err != nil {
		return a, "", err
	}
	port, err := parsePort(portText, rules)
	if err != nil {
		return a, "", err
	}
	ip, host, err := parseHost(host, rules)
	if err != nil {
		return a, "", err
	}
	return pool.Address{TCP: netip.AddrPortFrom(ip, port)}, host, nil
}

// checkSocketAddress takes a path, or a name in the abstract namespace, which has no files.
func checkSocketAddress(path string) error {
	if path == "@" {
		return errors.New("no name after the @: write unix:@NAME for an abstract socket")
	}
	if strings.HasPrefix(path, "@") && !strings.ContainsFunc(path, unicode.IsControl) && len(path) <= pool.MaxUnixPath {
		return nil
	}
	return checkSocketPath(path)
}

func checkSocketPath(path string) error {
	switch {
	case strings.ContainsFunc(path, unicode.IsControl):
		return fmt.Errorf("socket path %s has control characters", quote(path))
	case !filepath.IsAbs(path):
		return fmt.Errorf("socket path %s is not absolute: begin it with /", quote(path))
	case len(path) > pool.MaxUnixPath:
		return fmt.Errorf("socket path has %d bytes: the kernel takes at most %d", len(path), pool.MaxUnixPath)
	}
	return nil
}

func splitHostPort(text string, rules addressRules) (host, port string, err error) {
	if text == "" {
		return "", "", errors.New("empty address: write " + rules.want())
	}
	if strings.HasPrefix(text, "/") && !rules.noUnix {
		return "", "", fmt.Errorf("%s is a path: write unix:%s for a socket", quote(text), unquoted(text))
	}
	if strings.Contains(text, "/") {
		return "", "", fmt.Errorf("%s is not an address: write HOST:PORT, without scheme and path", quote(text))
	}
	if ip, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil && !strings.Contains(text, "]:") {
		if ip.Is4() {
			return "", "", fmt.Errorf("%s has no port: write %s:PORT", quote(text), ip)
		}
		return "", "", fmt.Errorf(`%s has no port, or no brackets: write "[IPV6]:PORT"`, quote(text))
	}
	if strings.HasPrefix(text, "[") {
		host, port, ok := strings.Cut(text[1:], "]:")
		if ip, err := netip.ParseAddr(host); !ok || err != nil || !ip.Is6() {
			return "", "", fmt.Errorf(`%s is not an address: write "[IPV6]:PORT", for example "[::1]:80"`, quote(text))
		}
		return host, port, nil
	}
	switch strings.Count(text, ":") {
	case 0:
		if _, err := strconv.ParseUint(text, 10, 16); err == nil && rules.listen {
			return "", "", fmt.Errorf(`%s is a port alone: write ":%s" for every address of this machine`, quote(text), text)
		}
		return "", "", fmt.Errorf("%s has no port: write HOST:PORT", quote(text))
	case 1:
		host, port, _ = strings.Cut(text, ":")
		return host, port, nil
	}
	return "", "", fmt.Errorf(`%s is not an address: write HOST:PORT, or "[IPV6]:PORT"`, quote(text))
}

// maxPortRange is how many ports a range may have: each is a socket of its own.
const maxPortRange = 4096

// portRange returns the addresses that an address with a range of ports stands for; all other text stands for itself.
func portRange(text string) ([]string, error) {
	colon := strings.LastIndexByte(text, ':')
	first, last, isRange := strings.Cut(text[colon+1:], "-")
	if colon < 0 || !isRange || first == "" || strings.HasPrefix(text, "unix:") {
		return []string{text}, nil
	}
	from, err := parsePort(first, addressRules{})
	if err != nil {
		return nil, err
	}
	to, err := parsePort(last, addressRules{})
	switch {
	case err != nil:
		return nil, err
	case from > to:
		return nil, fmt.Errorf("ports %s: the first is greater than the last: write %s-%s", quote(text[colon+1:]), last, first)
	case int(to)-int(from) >= maxPortRange:
		return nil, fmt.Errorf("ports %s are %d: a range has at most %d", quote(text[colon+1:]), int(to)-int(from)+1, maxPortRange)
	}
	var texts []string
	for port := int(from); port <= int(to); port++ {
		texts = append(texts, text[:colon+1]+strconv.Itoa(port))
	}
	return texts, nil
}

func parsePort(text string, rules addressRules) (uint16, error) {
	least := 1
	if rules.listen {
		least = 0
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n < uint64(least) {
		return 0, fmt.Errorf("port %s is not a number from %d to 65535", quote(text), least)
	}
	return uint16(n), nil
}

// parseHost returns an IP, or a name to be resolved, or neither for an empty host.
func parseHost(host string, rules addressRules) (ip netip.Addr, name string, err error) {
	switch {
	case host == "" && rules.listen:
		return ip, "", nil
	case host == "":
		return ip, "", errors.New("no host before the port: write HOST:PORT, for example 10.0.0.1:80")
	case host == "*":
		return ip, "", errors.New(`"*" is not an address: write ":PORT" to listen on every address`)
	}
	if ip, err = netip.ParseAddr(host); err == nil {
		ip = ip.Unmap()
		if ip.Zone() != "" && !ip.IsLinkLocalUnicast() {
			return ip, "", fmt.Errorf("%s: only addresses of one link (fe80::/10) have a zone: use the address without %%", quote(host))
		}
		if ip.IsUnspecified() && !rules.listen {
			return ip, "", fmt.Errorf("%s is no address to connect to: write the backend's own address", ip)
		}
		return ip, "", nil
	}
	return netip.Addr{}, host, checkHostName(host)
}

// checkHostName refuses what no resolver would find, so that a slip in an IP address is not looked up as a name.
func checkHostName(host string) error {
	if strings.Trim(host, "0123456789.") == "" {
		return fmt.Errorf("%s is not an IPv4 address", quote(host))
	}
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_."
	strange := strings.ContainsFunc(host, func(r rune) bool { return !strings.ContainsRune(allowed, r) })
	if strange || len(host) > 253 || strings.Contains(host, "..") || strings.ContainsAny(host[:1], "-.") {
		return fmt.Errorf("%s is neither an IP address nor a host name", quote(host))
	}
	return nil
}

// parsePrefix parses a CIDR; a single address stands for itself. Every network of a configuration and of its files is
// read by it.
func parsePrefix(text string) (netip.Prefix, error) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		return clients.Network(netip.PrefixFrom(ip, ip.BitLen())), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fmt.Errorf("%s is not a network: write ADDRESS/BITS, for example 10.0.0.0/8", quote(text))
	}
	if p != p.Masked() {
		return p, fmt.Errorf("%s has bits set after the first %d: write %s", quote(text), p.Bits(), p.Masked())
	}
	return clients.Network(p), nil
}
