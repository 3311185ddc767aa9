package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
)

// Networks says which addresses are meant: those written in the configuration, and those that files hold. The zero
// value is none.
type Networks struct {
	List  []netip.Prefix
	Files []string // absolute, or relative to the working directory
	// InForce is what List and Files came to when a program read them; Load leaves it out.
	InForce []netip.Prefix
}

// Read returns List and what the files hold now. The error has a line for everything that is wrong; where a line of a
// file is, it begins with FILE:LINE.
func (n Networks) Read() ([]netip.Prefix, error) {
	all := n.List
	var problems []error
	for _, path := range n.Files {
		networks, errs := readNetworks(path)
		all = append(all[:len(all):len(all)], networks...) // List stays as it is
		problems = append(problems, errs...)
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return all, nil
}

// ReadAccess returns whom Allow and Deny name, what their files hold now included. An Allow in which nobody is left is
// an error, because without any network everybody would be let in.
func (l *Listener) ReadAccess() (allow, deny []netip.Prefix, err error) {
	allow, allowErr := l.Allow.Read()
	if allowErr == nil {
		allowErr = l.Allow.checkSomebody(len(allow))
	}
	deny, denyErr := l.Deny.Read()
	if err := errors.Join(allowErr, denyErr); err != nil {
		return nil, nil, err
	}
	return allow, deny, nil
}

// checkSomebody refuses an allow whose files hold nothing; count is how many networks it has in all.
func (n Networks) checkSomebody(count int) error {
	if count > 0 || len(n.Files) == 0 {
		return nil
	}
	names := make([]string, len(n.Files))
	for i, path := range n.Files {
		names[i] = quote(path)
	}
	return fmt.Errorf("allow: no network in %s, which would mean everybody: write one into it, or remove allow",
		strings.Join(names, " and "))
}

// Bounds of a file of networks, so that a wrong path in the configuration costs a message and not the machine's memory.
const (
	maxNetworksFile    = 16 << 20 // bytes
	maxNetworks        = 1 << 20
	maxNetworkProblems = 20 // lines of which the message is kept; the others are counted
)

// readNetworks reads a file of networks. The errors name the file, and the line.
func readNetworks(path string) ([]netip.Prefix, []error) {
	data, err := readSideFile(path, maxNetworksFile)
	if err != nil {
		return nil, []error{err}
	}
	return parseNetworks(path, data)
}

// parseNetworks parses a file of networks, one a line: ADDRESS/BITS, or a single address, which stands for itself. A #
// begins a comment. name is the file's, for messages. The errors say of every line what is wrong with it, "FILE:LINE:
// message", and then there are no networks.
func parseNetworks(name string, data []byte) (networks []netip.Prefix, problems []error) {
	number, wrong := 0, 0
	for line := range strings.Lines(text(data)) {
		number++
		network, err := parseNetworkLine(line)
		switch {
		case err != nil:
			if wrong++; wrong <= maxNetworkProblems {
				problems = append(problems, fmt.Errorf("%s:%d: %w", name, number, err))
			}
		case !network.IsValid(): // a blank line
		case len(networks) == maxNetworks:
			return nil, append(problems, fmt.Errorf("%s:%d: there are more than %d networks", name, number, maxNetworks))
		default:
			networks = append(networks, network)
		}
	}
	if wrong > maxNetworkProblems {
		problems = append(problems, fmt.Errorf("%s: %d more lines are wrong", name, wrong-maxNetworkProblems))
	}
	if wrong > 0 {
		return nil, problems
	}
	return networks, nil
}

// parseNetworkLine returns the zero Prefix for a line without a network.
func parseNetworkLine(line string) (netip.Prefix, error) {
	line, _, _ = strings.Cut(line, "#")
	line = strings.TrimSpace(line)
	switch {
	case line == "":
		return netip.Prefix{}, nil
	case strings.ContainsAny(line, " \t,;"):
		return netip.Prefix{}, fmt.Errorf("%s is more than a network: write one on each line, and # before a comment",
			quote(line))
	}
	return parsePrefix(line)
}
