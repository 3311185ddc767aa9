package tlshello

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"

	"sluice/l4/tlshello/hellotest"
)

// parseHello reads a ClientHello that is all there.
func parseHello(data []byte) (hello Hello, size int, err error) {
	var r Reader
	return r.Read(data)
}

func TestParseHello(t *testing.T) {
	f := func(what string, message []byte, name string, protocols ...string) {
		t.Helper()
		data := hellotest.InRecords(message)
		hello, size, err := parseHello(data)
		got := slices.Collect(hello.Protocols.All())
		if err != nil || size != len(data) || hello.ServerName != name || !slices.Equal(got, protocols) {
			t.Errorf("%s: %+v, size %d of %d, %v; want %q, %q", what, hello, size, len(data), err, name, protocols)
		}
	}
	names := func(list ...string) (entries []byte) {
		for _, name := range list {
			entries = append(entries, hellotest.HostName(name)...)
		}
		return hellotest.ServerNames(entries)
	}
	const shop = "shop.example.com"
	ech := bytes.Repeat([]byte{0xec}, 200)
	longest := strings.Repeat("a234567.", 31) + "a2345"
	other := append([]byte{7}, hellotest.Prefixed(2, []byte("of a type to come"))...)

	f("name", hellotest.Message(names(shop)), shop)
	f("name and protocols", hellotest.Message(names(shop), hellotest.ALPN("h2", "http/1.1")), shop, "h2", "http/1.1")
	f("the other order", hellotest.Message(hellotest.ALPN("h2"), names(shop)), shop, "h2")
	f("among others", hellotest.Message(hellotest.Extension(0x0a0a), names(shop), hellotest.Extension(0xfe0d, ech)), shop)
	f("upper case", hellotest.Message(names("SHOP.Example.COM")), shop)
	f("trailing dot", hellotest.Message(names("shop.example.com.")), shop)
	f("one label", hellotest.Message(names("localhost")), "localhost")
	f("A-label", hellotest.Message(names("xn--bcher-kva.example")), "xn--bcher-kva.example")
	f("underscore", hellotest.Message(names("_sip._tls.example.com")), "_sip._tls.example.com")
	f("longest name", hellotest.Message(names(longest)), longest)
	f("longest name with a dot", hellotest.Message(names(longest+".")), longest)
	f("a name of digits", hellotest.Message(names("1.2.3")), "1.2.3")
	f("a name that asks for a wildcard", hellotest.Message(names("*.example.com")), "*.example.com")
	f("IPv4 address", hellotest.Message(names("192.0.2.1")), "")
	f("IPv6 address", hellotest.Message(names("2001:db8::1")), "")
	f("IPv6 address in brackets", hellotest.Message(names("[2001:db8::1]")), "")
	f("another type of name", hellotest.Message(hellotest.ServerNames(other)), "")
	f("another type of name and a name", hellotest.Message(hellotest.ServerNames(other, hellotest.HostName(shop), other)), shop)
	f("no name", hellotest.Message(hellotest.ALPN("h2")), "", "h2")
	f("no extensions", hellotest.Message(), "")
	f("not even their length", hellotest.Handshake(1, hellotest.Fields), "")
	noSession := slices.Concat(hellotest.Fields[:34], []byte("\x00\x00\x02\x00\x2f\x01\x00"))
	f("no session", hellotest.Handshake(1, noSession, hellotest.Prefixed(2, names(shop))), shop)
	f("protocol with any byte", hellotest.Message(hellotest.ALPN("\x0a\x00", "h2")), "", "\x0a\x00", "h2")
	f("longest protocol", hellotest.Message(hellotest.ALPN(strings.Repeat("x", 255))), "", strings.Repeat("x", 255))
	many := slices.Repeat([]string{"h2"}, 2000)
	f("2,000 protocols", hellotest.Message(hellotest.ALPN(many...), names(shop)), shop, many...)
}

// Every version of TLS says 3 in the record's first byte of version; the second one
// is not to be looked at, nor what the message says.
func TestParseHelloVersions(t *testing.T) {
	data := hellotest.InRecords(hellotest.Message(hellotest.ServerNames(hellotest.HostName("a.example"))))
	for minor := range 256 {
		data[2], data[10] = byte(minor), byte(minor)
		if hello, _, err := parseHello(data); err != nil || hello.ServerName != "a.example" {
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
	longest := hellotest.OfSize(t, MaxHello)
	f("the longest", longest, nil)
	f("a byte more", hellotest.OfSize(t, MaxHello+1), ErrHelloTooLarge)
	f("as much in one more record", hellotest.InRecords(hellotest.Unframed(longest), 4), ErrHelloTooLarge)
	ones := slices.Repeat([]int{1}, MaxHello)
	f("in records of one byte", hellotest.InRecords(hellotest.Unframed(hellotest.OfSize(t, MaxHello/6-4)), ones...), nil)

	// What is too large is refused as soon as its length is there.
	huge := append([]byte("\x16\x03\x01\x40\x00\x01\xff\xff\xff"), make([]byte, 1000)...)
	for _, n := range []int{9, 10, 1000} {
		f("a length of 16 MiB", huge[:n], ErrHelloTooLarge)
	}
	f("what could still be", []byte("\x16\x03\x01\x40\x00\x01\xff\xff"), io.ErrUnexpectedEOF)
}

// What is asked for is never more than there will be, and reading just that gets there.
func TestHelloAsksForLess(t *testing.T) {
	message := hellotest.Unframed(hellotest.OfSize(t, 20000))
	ones := slices.Repeat([]int{1}, 8000)
	for _, sizes := range [][]int{nil, {1}, {1, 1, 1, 1}, {5, 1}, {100, 200, 300}, ones, {1 << 14, 1}} {
		data := hellotest.InRecords(message, sizes...)
		calls, read := 1, 0
		var r Reader
		_, size, err := r.Read(nil)
		for err == io.ErrUnexpectedEOF {
			if size <= read || size > len(data) {
				t.Fatalf("%d bytes asked for after %d of %d", size, read, len(data))
			}
			read, calls = size, calls+1
			_, size, err = r.Read(data[:read])
		}
		if err != nil || size != len(data) || calls > 6+len(sizes) {
			t.Errorf("%d records: size %d of %d, %v after %d calls", len(sizes)+2, size, len(data), err, calls)
		}
	}
}

// What was looked at once is not looked at again before the hello is complete: bytes that are overwritten make no
// difference until then. So a drip costs what its bytes cost.
func TestHelloReaderLooksOnce(t *testing.T) {
	for _, sizes := range [][]int{nil, {1, 1, 1, 1, 1}, {700, 1, 700}, slices.Repeat([]int{1}, 5000)} {
		data := hellotest.InRecords(hellotest.Unframed(hellotest.OfSize(t, 2000)), sizes...)
		scratch := bytes.Clone(data)
		var r Reader
		for n := range len(data) {
			if _, size, err := r.Read(scratch[:n]); err != io.ErrUnexpectedEOF || size <= n || size > len(data) {
				t.Fatalf("%d of %d bytes: size %d, %v", n, len(data), size, err)
			}
			clear(scratch[:r.next])
		}
		if hello, size, err := r.Read(data); err != nil || size != len(data) || hello.ServerName != "shop.example.com" {
			t.Errorf("%+v, size %d of %d, %v", hello, size, len(data), err)
		}
	}
}

// typicalHello is as long as one with a key of X25519MLKEM768.
var typicalHello = hellotest.Message(
	hellotest.ServerNames(hellotest.HostName("shop.example.com")), hellotest.ALPN("h2", "http/1.1"),
	hellotest.Extension(51, make([]byte, 1200)),
)

// Reading allocates the name and the list of protocols, and once more to put records together.
func TestHelloAllocations(t *testing.T) {
	f := func(what string, want float64, data []byte) {
		t.Helper()
		if n := testing.AllocsPerRun(100, func() { parseHello(data) }); n != want {
			t.Errorf("%s: %v allocations, want %v", what, n, want)
		}
	}
	whole := hellotest.InRecords(typicalHello)
	f("one record", 2, whole)
	f("three records", 3, hellotest.InRecords(typicalHello, 10, 700))
	f("incomplete", 0, whole[:len(whole)-1])
	f("not TLS", 0, []byte("GET / HTTP/1.1\r\n\r\n"))
	f("no name", 0, hellotest.InRecords(hellotest.Message()))
	f("malformed", 0, hellotest.InRecords(hellotest.Message([]byte{0})))

	var r Reader
	n := 0
	if allocations := testing.AllocsPerRun(len(whole)-2, func() { r.Read(whole[:n]); n++ }); allocations != 0 {
		t.Errorf("byte by byte: %v allocations per byte, want none", allocations)
	}
}

func BenchmarkParseHello(b *testing.B) {
	for name, data := range map[string][]byte{
		"one record": hellotest.InRecords(typicalHello), "three records": hellotest.InRecords(typicalHello, 10, 700),
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
		data := hellotest.InRecords(hellotest.Unframed(hellotest.OfSize(b, size/6)), slices.Repeat([]int{1}, size)...)
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var r Reader
				for n := range len(data) + 1 {
					r.Read(data[:n])
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(data)), "ns/byte")
		})
	}
}
