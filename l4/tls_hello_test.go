package l4

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestParseHello(t *testing.T) {
	f := func(what string, message []byte, name string, protocols ...string) {
		t.Helper()
		data := inRecords(message)
		hello, size, err := parseHello(data)
		got := slices.Collect(hello.protocols.all())
		if err != nil || size != len(data) || hello.serverName != name || !slices.Equal(got, protocols) {
			t.Errorf("%s: %+v, size %d of %d, %v; want %q, %q", what, hello, size, len(data), err, name, protocols)
		}
	}
	names := func(list ...string) (entries []byte) {
		for _, name := range list {
			entries = append(entries, hostName(name)...)
		}
		return serverNames(entries)
	}
	const shop = "shop.example.com"
	longest := strings.Repeat("a234567.", 31) + "a2345"
	other := append([]byte{7}, prefixed(2, []byte("of a type to come"))...)

	f("name", helloMessage(names(shop)), shop)
	f("name and protocols", helloMessage(names(shop), alpn("h2", "http/1.1")), shop, "h2", "http/1.1")
	f("the other order", helloMessage(alpn("h2"), names(shop)), shop, "h2")
	f("among others", helloMessage(extension(0x0a0a), names(shop), extension(0xfe0d, random(3, 200))), shop)
	f("upper case", helloMessage(names("SHOP.Example.COM")), shop)
	f("trailing dot", helloMessage(names("shop.example.com.")), shop)
	f("one label", helloMessage(names("localhost")), "localhost")
	f("A-label", helloMessage(names("xn--bcher-kva.example")), "xn--bcher-kva.example")
	f("underscore", helloMessage(names("_sip._tls.example.com")), "_sip._tls.example.com")
	f("longest name", helloMessage(names(longest)), longest)
	f("longest name with a dot", helloMessage(names(longest+".")), longest)
	f("a name of digits", helloMessage(names("1.2.3")), "1.2.3")
	f("a name that asks for a wildcard", helloMessage(names("*.example.com")), "*.example.com")
	f("IPv4 address", helloMessage(names("192.0.2.1")), "")
	f("IPv6 address", helloMessage(names("2001:db8::1")), "")
	f("IPv6 address in brackets", helloMessage(names("[2001:db8::1]")), "")
	f("another type of name", helloMessage(serverNames(other)), "")
	f("another type of name and a name", helloMessage(serverNames(other, hostName(shop), other)), shop)
	f("no name", helloMessage(alpn("h2")), "", "h2")
	f("no extensions", helloMessage(), "")
	f("not even their length", handshake(1, helloFields), "")
	f("no session", handshake(1, helloFields[:34], []byte("\x00\x00\x02\x00\x2f\x01\x00"), prefixed(2, names(shop))), shop)
	f("protocol with any byte", helloMessage(alpn("\x0a\x00", "h2")), "", "\x0a\x00", "h2")
	f("longest protocol", helloMessage(alpn(strings.Repeat("x", 255))), "", strings.Repeat("x", 255))
	many := slices.Repeat([]string{"h2"}, 2000)
	f("2,000 protocols", helloMessage(alpn(many...), names(shop)), shop, many...)
}

// Every version of TLS says 3 in the record's first byte of version; the second one
// is not to be looked at, nor what the message says.
func TestParseHelloVersions(t *testing.T) {
	data := inRecords(helloMessage(serverNames(hostName("a.example"))))
	for minor := range 256 {
		data[2], data[10] = byte(minor), byte(minor)
		if hello, _, err := parseHello(data); err != nil || hello.serverName != "a.example" {
			t.Errorf("version 3.%d: %+v, %v", minor, hello, err)
		}
	}
}

// The bound counts all records with their heads.
func TestHelloBound(t *testing.T) {
	f := func(what string, data []byte, want error) {
		t.Helper()
		_, size, err := parseHello(data)
		if err != want || err == nil && size != len(data) {
			t.Errorf("%s: size %d of %d, %v; want %v", what, size, len(data), err, want)
		}
	}
	longest := helloOf(t, maxHello)
	f("the longest", longest, nil)
	f("a byte more", helloOf(t, maxHello+1), errHelloLarge)
	f("as much in one more record", inRecords(unframed(longest), 4), errHelloLarge)
	f("in records of one byte", inRecords(unframed(helloOf(t, maxHello/6-4)), slices.Repeat([]int{1}, maxHello)...), nil)

	// What is too large is refused as soon as its length is there.
	huge := append([]byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), make([]byte, 1000)...)
	for _, n := range []int{9, 10, 1000} {
		f("a length of 16 MiB", huge[:n], errHelloLarge)
	}
	f("what could still be", []byte("\x16\x03\x01\x40\x00\x01\xff\xff"), errShort)
}

// What is asked for is never more than there will be, and reading just that gets there.
func TestHelloAsksForLess(t *testing.T) {
	message := unframed(helloOf(t, 20000))
	ones := slices.Repeat([]int{1}, 8000)
	for _, sizes := range [][]int{nil, {1}, {1, 1, 1, 1}, {5, 1}, {100, 200, 300}, ones, {1 << 14, 1}} {
		data := inRecords(message, sizes...)
		calls, read := 1, 0
		var r helloReader
		_, size, err := r.read(nil)
		for err == errShort {
			if size <= read || size > len(data) {
				t.Fatalf("%d bytes asked for after %d of %d", size, read, len(data))
			}
			read, calls = size, calls+1
			_, size, err = r.read(data[:read])
		}
		if err != nil || size != len(data) || calls > 6+len(sizes) {
			t.Errorf("%d records: size %d of %d, %v after %d calls", len(sizes)+2, size, len(data), err, calls)
		}
	}
}

// What was looked at once is not looked at again before the hello is complete: bytes
// that are overwritten make no difference until then. So a drip costs what its bytes
// cost.
func TestHelloReaderLooksOnce(t *testing.T) {
	for _, sizes := range [][]int{nil, {1, 1, 1, 1, 1}, {700, 1, 700}, slices.Repeat([]int{1}, 5000)} {
		data := inRecords(unframed(helloOf(t, 2000)), sizes...)
		scratch := bytes.Clone(data)
		var r helloReader
		for n := range len(data) {
			if _, size, err := r.read(scratch[:n]); err != errShort || size <= n || size > len(data) {
				t.Fatalf("%d of %d bytes: size %d, %v", n, len(data), size, err)
			}
			clear(scratch[:r.next])
		}
		if hello, size, err := r.read(data); err != nil || size != len(data) || hello.serverName != "shop.example.com" {
			t.Errorf("%+v, size %d of %d, %v", hello, size, len(data), err)
		}
	}
}

// typicalHello is as long as one with a key of X25519MLKEM768.
var typicalHello = helloMessage(
	serverNames(hostName("shop.example.com")), alpn("h2", "http/1.1"), extension(51, random(5, 1200)),
)

// Reading allocates the name and the list of protocols, and once more to put records
// together.
func TestHelloAllocations(t *testing.T) {
	f := func(what string, want float64, data []byte) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() { parseHello(data) }); n != want {
			t.Errorf("%s: %v allocations, want %v", what, n, want)
		}
	}
	whole := inRecords(typicalHello)
	f("one record", 2, whole)
	f("three records", 3, inRecords(typicalHello, 10, 700))
	f("incomplete", 0, whole[:len(whole)-1])
	f("not TLS", 0, []byte("GET / HTTP/1.1\r\n\r\n"))
	f("no name", 0, inRecords(helloMessage()))
	f("malformed", 0, inRecords(helloMessage([]byte{0})))

	var r helloReader
	n := 0
	if allocations := testing.AllocsPerRun(len(whole)-2, func() { r.read(whole[:n]); n++ }); allocations != 0 {
		t.Errorf("byte by byte: %v allocations per byte, want none", allocations)
	}
}

func BenchmarkParseHello(b *testing.B) {
	for name, data := range map[string][]byte{
		"one record": inRecords(typicalHello), "three records": inRecords(typicalHello, 10, 700),
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				parseHello(data)
			}
		})
	}
}

// The cost per byte of a drip does not depend on how long it is.
func BenchmarkHelloDrip(b *testing.B) {
	for name, size := range map[string]int{"1 KiB": 1 << 10, "64 KiB": 64 << 10} {
		data := inRecords(unframed(helloOf(b, size/6)), slices.Repeat([]int{1}, size)...)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var r helloReader
				for n := range len(data) + 1 {
					r.read(data[:n])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(data)), "ns/byte")
		})
	}
}
