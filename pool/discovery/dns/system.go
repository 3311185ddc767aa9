package dns

import (
	"bytes"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	miekg "github.com/miekg/dns"
)

// Where the system says which names it knows and whom to ask: hosts(5), resolv.conf(5).
const (
	hostsPath  = "/etc/hosts"
	resolvPath = "/etc/resolv.conf"
)

// settings is what resolv.conf says.
type settings struct {
	servers
	search []string
	ndots  int // a name with fewer dots is tried with the search list first
}

// The most that resolv.conf may ask for, as in resolv.conf(5).
const (
	mostTimeout  = 30 * time.Second
	mostAttempts = 5
)

// parseSettings reads a resolv.conf. One that names no server, or is not there, means the one of this machine.
func parseSettings(text []byte) *settings {
	parsed, err := miekg.ClientConfigFromReader(bytes.NewReader(text))
	if err != nil {
		parsed = &miekg.ClientConfig{Ndots: 1, Timeout: 5, Attempts: 2}
	}
	s := &settings{search: parsed.Search, ndots: parsed.Ndots}
	s.timeout = min(time.Duration(min(parsed.Timeout, 3600))*time.Second, mostTimeout)
	s.attempts = min(parsed.Attempts, mostAttempts)
	for _, text := range parsed.Servers {
		if ip, err := netip.ParseAddr(text); err == nil {
			s.list = append(s.list, netip.AddrPortFrom(ip, 53))
		}
	}
	if s.list == nil {
		s.list = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:53"), netip.MustParseAddrPort("[::1]:53")}
	}
	// What the library leaves out.
	for line := range strings.Lines(string(text)) {
		if fields := strings.Fields(line); len(fields) > 0 && fields[0] == "options" {
			s.rotate = s.rotate || slices.Contains(fields, "rotate")
			s.tcp = s.tcp || slices.Contains(fields, "use-vc")
		}
	}
	return s
}

// names returns what a name may stand for, whole, in the order in which it is tried.
func (s *settings) names(name string) (all []string) {
	add := func(name string) {
		name = miekg.CanonicalName(name)
		// 255 bytes on the wire are 254 here.
		if _, ok := miekg.IsDomainName(name); ok && name != "." && len(name) <= 254 && !slices.Contains(all, name) {
			all = append(all, name)
		}
	}
	if strings.HasSuffix(name, ".") {
		add(name)
		return all
	}
	if strings.Count(name, ".") >= s.ndots {
		add(name)
	}
	for _, domain := range s.search {
		add(name + "." + strings.Trim(domain, "."))
	}
	add(name)
	return all
}

// parseHosts returns the addresses that a hosts file has for a name.
func parseHosts(text []byte, name string) (all []netip.Addr) {
	wanted := []byte(strings.TrimSuffix(name, "."))
	for line := range bytes.Lines(text) {
		line, _, _ = bytes.Cut(line, []byte("#"))
		fields := bytes.Fields(line)
		if len(fields) < 2 {
			continue
		}
		if !slices.ContainsFunc(fields[1:], func(f []byte) bool { return bytes.EqualFold(f, wanted) }) {
			continue
		}
		if ip, err := netip.ParseAddr(string(fields[0])); err == nil {
			all = append(all, ip.Unmap())
		}
	}
	return all
}

// A file is what the file at a path says, read anew when it is another or has changed. It is safe for concurrent use.
type file[T any] struct {
	path  string
	parse func([]byte) T // without a text where the file cannot be read

	mu      sync.Mutex
	settled bool        // it was read, and a change since then has another time
	info    fs.FileInfo // when it was read; nil = it could not be
	value   T
}

func (f *file[T]) get() T {
	f.mu.Lock()
	defer f.mu.Unlock()
	info, err := os.Stat(f.path)
	if err != nil {
		info = nil
	}
	if f.settled && same(f.info, info) {
		return f.value
	}
	text, err := os.ReadFile(f.path)
	if err != nil {
		text, info = nil, nil
	}
	f.settled = info == nil || time.Since(info.ModTime()) > time.Second // the clock of a file system is coarse
	f.info, f.value = info, f.parse(text)
	return f.value
}

// same reports whether a file is as it was.
func same(was, is fs.FileInfo) bool {
	if was == nil || is == nil {
		return was == nil && is == nil
	}
	return os.SameFile(was, is) && was.ModTime().Equal(is.ModTime()) && was.Size() == is.Size()
}
