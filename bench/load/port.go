package load

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
)

// FreePort returns an address nobody uses, outside of the range from which the kernel chooses ports for clients, so that
// none takes it meanwhile.
func FreePort() (netip.AddrPort, error) {
	const from, to = 10000, 30000
	for range 100 {
		ap := netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(from+rand.IntN(to-from)))
		ln, err := net.Listen("tcp", ap.String())
		if err != nil {
			continue
		}
		ln.Close()
		return ap, nil
	}
	return netip.AddrPort{}, errors.New("find a free port: none of 100 tried is free")
}
