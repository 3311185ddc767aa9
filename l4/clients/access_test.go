package clients

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// ipv4 is the address with a number.
func ipv4(n uint32) netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], n)
	return netip.AddrFrom4(b)
}

// networksOf is a list of networks in words; "" is none.
func networksOf(words string) (list []netip.Prefix) {
	for _, word := range strings.Fields(words) {
		list = append(list, netip.MustParsePrefix(word))
	}
	return list
}

func TestAccess(t *testing.T) {
	f := func(allow, deny, permitted, refused string) {
		t.Helper()
		a := NewAccess(networksOf(allow), networksOf(deny))
		for _, addr := range strings.Fields(permitted) {
			if !a.Permits(netip.MustParseAddr(addr)) {
				t.Errorf("%s is refused", addr)
			}
		}
		for _, addr := range strings.Fields(refused) {
			if a.Permits(netip.MustParseAddr(addr)) {
				t.Errorf("%s is permitted", addr)
			}
		}
		if !a.Permits(netip.Addr{}) {
			t.Error("a client without an address is refused")
		}
	}
	// No list: everybody.
	f("", "", "0.0.0.0 255.255.255.255 :: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ::ffff:1.2.3.4 fe80::1%eth0", "")
	// An allow list, to both ends of its networks.
	f("10.0.0.0/8 2001:db8::/32", "", "10.0.0.0 10.255.255.255 2001:db8:: 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
		"9.255.255.255 11.0.0.0 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9::")
	// An allow list of one family lets nobody of the other in.
	f("0.0.0.0/0", "", "1.2.3.4 ::ffff:1.2.3.4", "::1")
	f("::/0", "", "::1", "1.2.3.4 ::ffff:1.2.3.4")
	// Deny alone, and to the end of the address space.
	f("", "240.0.0.0/4 ff00::/8", "239.255.255.255 feff::",
		"240.0.0.0 255.255.255.255 ff00:: ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
	// Deny wins, however the networks lie in each other and whichever is the smaller.
	f("10.0.0.0/8", "10.1.0.0/16", "10.0.255.255 10.2.0.0", "10.1.0.0 10.1.255.255")
	f("10.1.0.0/16", "10.0.0.0/8", "", "10.1.2.3")
	f("10.0.0.0/8", "10.0.0.0/8", "", "10.1.2.3")
	f("0.0.0.0/0", "0.0.0.0/0", "", "0.0.0.0 255.255.255.255")
	// Networks that touch, that are given twice, and single addresses.
	f("10.0.0.0/9 10.128.0.0/9 10.0.0.0/9", "10.127.255.255/32 10.128.0.0/32", "10.127.255.254 10.128.0.1",
		"10.127.255.255 10.128.0.0")
	// Host bits say nothing.
	f("10.1.2.3/8", "", "10.0.0.0 10.200.0.0", "11.1.2.3")
	// Mapped addresses are IPv4, as clients and as networks; a zone is not looked at.
	f("10.0.0.0/8", "::ffff:10.1.0.0/112", "::ffff:10.2.0.0", "10.1.0.1 ::ffff:10.1.0.1 ::10.2.0.0")
	f("fe80::/10", "fe80::2/128", "fe80::1%eth0", "fe80::2%eth0")
	// Below and above the middle of an IPv6 address.
	f("2001:db8::/63 2001:db8:1::/64 2001:db8:2::8000:0:0:0/65", "",
		"2001:db8:0:1:ffff:: 2001:db8:1::1 2001:db8:2:0:8000::",
		"2001:db8:0:2:: 2001:db8:1:1:: 2001:db8:2::7fff:ffff:ffff:ffff")
}

// Networks that touch cost no more than one that holds them all.
func TestAccessMerges(t *testing.T) {
	f := func(list string, changes int) {
		t.Helper()
		a := NewAccess(networksOf(list), nil)
		if n := len(a.v4) + len(a.v6); n != changes {
			t.Errorf("%s: the answer changes %d times, want %d", list, n, changes)
		}
	}
	f("0.0.0.0/0 ::/0", 2)
	f("10.0.0.0/9 10.128.0.0/9 10.1.0.0/16", 2)
	f("0.0.0.0/1 128.0.0.0/1", 1)
	f("2001:db8::/33 2001:db8:8000::/33 2001:db8::/128", 2)
}

// permitsSlowly is what the rules say.
func permitsSlowly(allow, deny []netip.Prefix, addr netip.Addr) bool {
	holds := func(p netip.Prefix) bool { return p.Contains(addr) }
	return (len(allow) == 0 || slices.ContainsFunc(allow, holds)) && !slices.ContainsFunc(deny, holds)
}

// randomNetwork lies in a corner of the address space, where networks meet, or anywhere.
func randomNetwork(rnd *rand.Rand) netip.Prefix {
	b := make([]byte, 4+12*rnd.IntN(2))
	for i := range b {
		b[i] = byte(rnd.IntN(3) - 1)
		if rnd.IntN(8) == 0 {
			b[i] = byte(rnd.Uint32())
		}
	}
	addr, _ := netip.AddrFromSlice(b)
	return netip.PrefixFrom(addr, rnd.IntN(addr.BitLen()+1)).Masked()
}

func TestAccessAgainstModel(t *testing.T) {
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		lists := [2][]netip.Prefix{}
		var asked []netip.Addr
		for i := range lists {
			for range rnd.IntN(30) {
				p := randomNetwork(rnd)
				lists[i] = append(lists[i], p)
				asked = append(asked, p.Addr(), p.Addr().Prev(), p.Addr().Next(), randomNetwork(rnd).Addr())
			}
		}
		a := NewAccess(lists[0], lists[1])
		for _, addr := range asked {
			if addr = addr.Unmap(); !addr.IsValid() {
				continue
			}
			if got, want := a.Permits(addr), permitsSlowly(lists[0], lists[1], addr); got != want {
				t.Fatalf("seed %d: permits(%v) = %v\nallow %v\ndeny %v", seed, addr, got, lists[0], lists[1])
			}
		}
	}
}

// manyNetworks are /24 or /48 in places that a seed decides, and addresses near and far.
func manyNetworks(n int, v6 bool) (list []netip.Prefix, asked []netip.Addr) {
	rnd := rand.New(rand.NewPCG(uint64(n), 1))
	random := func() netip.Addr {
		if !v6 {
			return ipv4(rnd.Uint32())
		}
		var b [16]byte
		binary.BigEndian.PutUint64(b[:], 0x2001<<48|rnd.Uint64()>>16)
		return netip.AddrFrom16(b)
	}
	for range n {
		list = append(list, netip.PrefixFrom(random(), 24+24*(random().BitLen()/128)).Masked())
	}
	for range 2048 {
		asked = append(asked, random(), list[rnd.IntN(n)].Addr())
	}
	return list, asked
}

func TestAccessAllocatesNothing(t *testing.T) {
	for _, v6 := range []bool{false, true} {
		list, asked := manyNetworks(1000, v6)
		a := NewAccess(nil, list)
		i := 0
		if n := testing.AllocsPerRun(1000, func() { i++; a.Permits(asked[i%len(asked)]) }); n != 0 {
			t.Errorf("%v allocations per look-up, want none", n)
		}
	}
}

func BenchmarkAccess(b *testing.B) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, n := range []int{10, 1000, 100_000} {
			list, asked := manyNetworks(n, family == "IPv6")
			a := NewAccess(nil, list)
			b.Run(fmt.Sprintf("%s/%d", family, n), func(b *testing.B) {
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					a.Permits(asked[i%len(asked)])
				}
			})
		}
	}
}

func BenchmarkNewAccess(b *testing.B) {
	list, _ := manyNetworks(100_000, false)
	b.ReportAllocs()
	for b.Loop() {
		NewAccess(nil, list)
	}
}
