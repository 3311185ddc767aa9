package configs

import (
	"context"
	"errors"
	"fmt"
	"net/netip"

	"sluice/pool"
)

// ParseBackend returns the backend that an address alone stands for: an IP and a port, or unix:/PATH. It is named as it
// is written.
func ParseBackend(text string) (pool.BackendConfig, error) {
	b := defaultBackend()
	b.Name = text
	address, host, err := parseAddress(text, addressRules{})
	if err == nil && host != "" {
		err = fmt.Errorf("%s is not an IP address", quote(host))
	}
	b.Address = address
	return b, err
}

// ResolveBackend is ParseBackend for an address that may have a host name, which is looked up now. name is what the backend
// is to be called; "" = as its address is written.
func ResolveBackend(ctx context.Context, text, name string) (pool.BackendConfig, error) {
	b := defaultBackend()
	b.Name = text
	if name != "" {
		b.Name = name
		if err := checkName(name); err != nil {
			return b, fmt.Errorf("backend %w", err)
		}
	}
	address, host, err := parseAddress(text, addressRules{})
	if err != nil {
		return b, err
	}
	b.Address = address
	if host == "" {
		return b, nil
	}
	ip, err := Resolve(ctx, host)
	b.Address.TCP = netip.AddrPortFrom(ip, address.TCP.Port())
	return b, err
}

// CheckOwn returns why an address cannot be a backend's: it is one that this configuration listens on.
func (f *File) CheckOwn(a pool.Address) error { return f.Barred()(a) }

// Barred returns CheckOwn for many addresses.
func (f *File) Barred() func(pool.Address) error {
	find := f.OwnListener()
	return func(a pool.Address) error {
		name, own := find(a)
		if !own {
			return nil
		}
		return errors.New(bindText(a) + " is an address that this sluice listens on itself (listener " + quote(name) +
			"), so every session would open another one: write the server's own address")
	}
}
