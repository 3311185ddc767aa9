package configs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"sluice/pool"
)

// lookupFunc finds the addresses of a host name; network is "ip".
type lookupFunc func(ctx context.Context, network, host string) ([]netip.Addr, error)

// A hostName is an address with a name where its IP should be, without which nothing works. Those of backends are found
// later on, by a source.
type hostName struct {
	at   place
	host string
	to   *pool.Address // has the port already
}

const (
	resolveTimeout = 5 * time.Second // for all names together
	resolveAtOnce  = 16              // lookups at a time: resolvers drop what comes in floods
)

// resolve looks up every host name that was noted and fills in its address.
func (f *findings) resolve(ctx context.Context, lookup lookupFunc) {
	if f.offline { // the checks go on that want an address
		for _, h := range f.hosts {
			*h.to = pool.Address{}
		}
		return
	}
	ctx, cancel := context.WithTimeout(ctx, resolveTimeout)
	defer cancel()
	answers := lookupAll(ctx, lookup, f.hosts)
	for _, h := range f.hosts {
		a := answers[h.host]
		ip, err := choose(a)
		if err != nil {
			f.report(h.at, "host name %s does not resolve: %v", quote(h.host), err)
			*h.to = pool.Address{}
			continue
		}
		if others := alike(a.addrs, ip); others > 1 {
			f.warn(h.at, "host name %s has %d addresses, of which one is used: %v", quote(h.host), others, ip)
		}
		h.to.TCP = netip.AddrPortFrom(ip, h.to.TCP.Port())
	}
}

// alike returns how many of the addresses are of the family of one.
func alike(addrs []netip.Addr, one netip.Addr) (count int) {
	for _, a := range addrs {
		if a.Unmap().Is4() == one.Is4() {
			count++
		}
	}
	return count
}

// Resolve returns the address that a host name stands for: the first IPv4 address, else the first IPv6 address.
func Resolve(ctx context.Context, host string) (netip.Addr, error) {
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	ip, err := choose(answer{addrs, err})
	if err != nil {
		return ip, fmt.Errorf("host name %s does not resolve: %w", quote(host), err)
	}
	return ip, nil
}

type answer struct {
	addrs []netip.Addr
	err   error
}

func lookupAll(ctx context.Context, lookup lookupFunc, hosts []hostName) map[string]answer {
	var (
		mu      sync.Mutex
		wg      sync.WaitGroup
		answers = make(map[string]answer)
		tokens  = make(chan struct{}, resolveAtOnce)
	)
	for _, name := range distinct(hosts) {
		tokens <- struct{}{}
		wg.Go(func() {
			addrs, err := lookup(ctx, "ip", name)
			mu.Lock()
			answers[name] = answer{addrs, err}
			mu.Unlock()
			<-tokens
		})
	}
	wg.Wait()
	return answers
}

func distinct(hosts []hostName) []string {
	names := make([]string, len(hosts))
	for i, h := range hosts {
		names[i] = h.host
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// choose returns the first IPv4 address, else the first IPv6 address.
func choose(a answer) (netip.Addr, error) {
	var dns *net.DNSError
	switch {
	case errors.Is(a.err, context.DeadlineExceeded), errors.As(a.err, &dns) && dns.IsTimeout:
		return netip.Addr{}, errors.New("no answer in time")
	case errors.As(a.err, &dns):
		return netip.Addr{}, errors.New(dns.Err)
	case a.err != nil:
		return netip.Addr{}, a.err
	case len(a.addrs) == 0:
		return netip.Addr{}, errors.New("it has no address")
	}
	for _, ip := range a.addrs {
		if ip.Unmap().Is4() {
			return ip.Unmap(), nil
		}
	}
	return a.addrs[0].WithZone(""), nil
}
