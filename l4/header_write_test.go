package l4

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"sluice/pool"
)

// readHeaderOf reads the header that a backend was sent, with the library.
func (r *rig) readHeaderOf(c conn) (*proxyproto.Header, *bufio.Reader) {
	r.t.Helper()
	var header *proxyproto.Header
	reader := bufio.NewReader(c)
	r.while("read the header", func() (err error) {
		header, err = proxyproto.Read(reader)
		return err
	})
	return header, reader
}

// What a backend is told of a client that sent no header itself.
func TestSendHeader(t *testing.T) {
	f := func(bind string, version ProxyVersion, want proxyproto.AddressFamilyAndProtocol) {
		t.Helper()
		t.Run(bind+" "+version.String(), func(t *testing.T) {
			r := newRig(t, rigConfig{bind: []pool.Address{listenAddress(t, bind)}, send: version})
			c := r.dial()
			s := r.accept()
			header, _ := r.readHeaderOf(s)
			if header.Version != byte(version) || header.TransportProtocol != want {
				t.Fatalf("header %+v, want version %d of kind %#x", header, version, want)
			}
			source, destination, tcp := addressesOf(header)
			if !tcp {
				r.expectNoNames(header, version)
			} else if source.String() != c.LocalAddr().String() || destination.String() != c.RemoteAddr().String() {
				t.Errorf("header names %v and %v, want %v and %v", source, destination, c.LocalAddr(), c.RemoteAddr())
			}
			r.exchange(c, s, 3)
			r.exchange(s, c, 3)
		})
	}
	for _, version := range []ProxyVersion{ProxyV1, ProxyV2} {
		f("127.0.0.1:0", version, proxyproto.TCPv4)
		f("[::1]:0", version, proxyproto.TCPv6)
		f("0.0.0.0:0", version, proxyproto.TCPv4)
		f("[::]:0", version, proxyproto.TCPv6)
	}
	f("unix", ProxyV1, proxyproto.UNSPEC)
	f("unix", ProxyV2, proxyproto.UNSPEC)
}

func listenAddress(t *testing.T, text string) pool.Address {
	if text == "unix" {
		return pool.Address{Unix: filepath.Join(t.TempDir(), "front")}
	}
	return pool.Address{TCP: netip.MustParseAddrPort(text)}
}

// expectNoNames checks that a backend is told that the connection is the balancer's own.
func (r *rig) expectNoNames(header *proxyproto.Header, version ProxyVersion) {
	r.t.Helper()
	if header.SourceAddr != nil || header.DestinationAddr != nil || version == ProxyV2 && !header.Command.IsLocal() {
		r.t.Errorf("header %+v, want LOCAL without addresses", header)
	}
}

// A listener on every address tells each client's own destination.
func TestSendHeaderFromDualStack(t *testing.T) {
	r := newRig(t, rigConfig{bind: []pool.Address{{TCP: netip.AddrPortFrom(netip.Addr{}, 0)}}, send: ProxyV2})
	port := r.address().TCP.Port()
	for _, ip := range []string{"127.0.0.1", "127.0.0.9", "::1"} {
		to := netip.AddrPortFrom(netip.MustParseAddr(ip), port)
		c := r.keep(must(net.Dial("tcp", to.String())))
		header, _ := r.readHeaderOf(r.accept())
		source, destination, ok := addressesOf(header)
		if !ok || destination != to || source.String() != c.LocalAddr().String() {
			t.Errorf("dial %v: header names %v and %v", to, source, destination)
		}
		if want := to.Addr().Is4(); header.TransportProtocol.IsIPv4() != want {
			t.Errorf("dial %v: family %#x", to, header.TransportProtocol)
		}
	}
}

// An earlier hop's header is passed on: the addresses, and with version 2 the
// fields, without its checksum.
func TestPassHeaderOn(t *testing.T) {
	alpn, custom := field(typeALPN, []byte("h2")), field(typeCustom, []byte("\x00\xff"))
	f := func(name string, received []byte, version ProxyVersion, want []byte) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accepting(), send: version})
			c := r.dial()
			r.write(c, append(slices.Clone(received), "data"...))
			s := r.accept()
			if want == nil { // of the client's own socket
				header := proxyproto.HeaderProxyFromAddrs(byte(version), c.LocalAddr(), c.RemoteAddr())
				want = must(header.Format())
			}
			r.expect(s, append(slices.Clone(want), "data"...))
			r.exchange(s, c, 2)
		})
	}
	f("v1 to v1", []byte(lineTCP4), ProxyV1, []byte(lineTCP4))
	f("v1 to v1, IPv6", []byte(lineTCP6), ProxyV1, []byte(lineTCP6))
	f("v1 to v2", []byte(lineTCP4), ProxyV2, v2(commandProxy, familyTCP4, addresses4))
	f("v1 to v2, IPv6", []byte(lineTCP6), ProxyV2, v2(commandProxy, familyTCP6, addresses6))
	f("v1 to v1, IPv6 to IPv4", validHeaders["v1 TCP6 to IPv4"], ProxyV1,
		[]byte("PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 40001 443\r\n"))
	f("v1 to v2, IPv6 to IPv4", validHeaders["v1 TCP6 to IPv4"], ProxyV2,
		v2(commandProxy, familyTCP6, addressBlock(source6, mapped(destination4))))
	f("v1 UNKNOWN to v1", []byte(lineUnknown), ProxyV1, nil)
	f("v1 UNKNOWN to v2", []byte(lineUnknown), ProxyV2, nil)
	f("v2 to v1", v2(commandProxy, familyTCP4, addresses4, alpn), ProxyV1, []byte(lineTCP4))
	f("v2 to v1, IPv6", validHeaders["v2 TCP6"], ProxyV1, []byte(lineTCP6))
	f("v2 to v2", validHeaders["v2 TCP4"], ProxyV2, validHeaders["v2 TCP4"])
	f("v2 to v2, IPv6", validHeaders["v2 TCP6"], ProxyV2, validHeaders["v2 TCP6"])
	f("v2 to v2, Unix", validHeaders["v2 Unix"], ProxyV2, validHeaders["v2 Unix"])
	f("v2 Unix to v1", validHeaders["v2 Unix"], ProxyV1, []byte(lineUnknown))
	f("v2 LOCAL to v2", validHeaders["v2 LOCAL with addresses"], ProxyV2, nil)
	f("v2 LOCAL to v1", validHeaders["v2 LOCAL"], ProxyV1, nil)
	f("v2 UNSPEC to v2", validHeaders["v2 UNSPEC with junk"], ProxyV2, nil)
	f("v2 datagrams to v2", validHeaders["v2 UDP4"], ProxyV2, nil)
	f("fields", v2(commandProxy, familyTCP4, addresses4, alpn, custom), ProxyV2,
		v2(commandProxy, familyTCP4, addresses4, alpn, custom))
	f("fields with a checksum", summed(commandProxy, familyTCP6, addresses6, alpn, custom), ProxyV2,
		v2(commandProxy, familyTCP6, addresses6, alpn, custom))
	f("longest", validHeaders["v2 longest"], ProxyV2, validHeaders["v2 longest"])
	f("no header wanted", lineAndFields(), ProxyOff, []byte{})
}

func lineAndFields() []byte {
	return v2(commandProxy, familyTCP4, addresses4, field(typeAuthority, []byte("example.com")))
}

// Header and first data leave in one segment, so that a backend that reads
// once gets both.
func TestHeaderRidesWithFirstData(t *testing.T) {
	f := func(name string, accept *AcceptProxy, sent string, send ProxyVersion) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			r := newRig(t, rigConfig{accept: accept, send: send})
			c := r.dial()
			if _, err := c.Write([]byte(sent)); err != nil { // before the loop accepts
				t.Fatal(err)
			}
			s := r.accept()
			r.until("the header was sent", func() bool { return r.traffic() > 0 })
			if n := dataSegments(t, s); n != 1 {
				t.Errorf("%d segments with data, want 1", n)
			}
			got := tryReceive(s)
			if !bytes.HasSuffix(got, []byte("first data")) || len(got) <= len("first data") {
				t.Errorf("one read yields %q, want the header and the first data", got)
			}
		})
	}
	f("v1", nil, "first data", ProxyV1)
	f("v2", nil, "first data", ProxyV2)
	f("received and sent", accepting(), lineTCP4+"first data", ProxyV2)
	f("with a stream of it", nil, strings.Repeat("x", 100)+"first data", ProxyV2)
}

// dataSegments is tcpi_data_segs_in of a connection.
func dataSegments(t *testing.T, c conn) (n uint32) {
	t.Helper()
	must(c.SyscallConn()).Control(func(fd uintptr) {
		info := tcpInfo(t, int(fd))
		n = binary.NativeEndian.Uint32(info[152:])
	})
	return n
}

// A server that speaks first, like many databases, has its header before the
// client has said a word.
func TestServerSpeaksFirst(t *testing.T) {
	for _, version := range []ProxyVersion{ProxyV1, ProxyV2} {
		t.Run(version.String(), func(t *testing.T) {
			r := newRig(t, rigConfig{send: version})
			c := r.dial()
			s := r.accept()
			header, rest := r.readHeaderOf(s)
			if rest.Buffered() > 0 {
				t.Errorf("%d bytes after the header, want none", rest.Buffered())
			}
			if source, _, _ := addressesOf(header); source.String() != c.LocalAddr().String() {
				t.Errorf("header names client %v, want %v", source, c.LocalAddr())
			}
			r.write(s, []byte("220 ready\r\n"))
			r.expect(c, []byte("220 ready\r\n"))
			r.exchange(c, s, 2)
		})
	}
}

// The header is sent once, to the backend that answers, however many were
// tried before; and it counts as sent.
func TestHeaderAfterRetry(t *testing.T) {
	good := listenTCP(t, "127.0.0.1:0")
	r := newRig(t, rigConfig{
		backends: []pool.Address{refusing(t), refusing(t), tcpAddress(good.Addr())}, retries: 2,
		accept: accepting(), send: ProxyV1,
	})
	c := r.dial()
	r.write(c, []byte(lineTCP4+"request"))
	s := r.acceptFrom(good)
	r.expect(s, []byte(lineTCP4+"request"))
	c.CloseWrite()
	r.expectFIN(s)
	s.Close()
	end := r.expectEnd(ClientClosed)
	if want := uint64(len(lineTCP4 + "request")); end.Sent != want || r.pool.Backends()[2].Stats().Sent != want {
		t.Errorf("%d bytes sent, the backend counts %d, want %d", end.Sent, r.pool.Backends()[2].Stats().Sent, want)
	}
}

// A client that has gone before its backend is connected still gets its
// request, its header and its FIN through, in that order.
func TestHeaderForClientThatLeft(t *testing.T) {
	r := newRig(t, rigConfig{send: ProxyV2})
	c := r.dial()
	local := c.LocalAddr().String()
	c.Write([]byte("request"))
	c.Close()
	s := r.accept()
	header, reader := r.readHeaderOf(s)
	if source, _, _ := addressesOf(header); source.String() != local {
		t.Errorf("header names client %v, want %v", source, local)
	}
	var rest []byte
	r.while("read the rest", func() (err error) { rest, err = io.ReadAll(reader); return err })
	if string(rest) != "request" {
		t.Errorf("after the header: %q, want the request", rest)
	}
}

func TestProxyVersionText(t *testing.T) {
	for _, word := range ProxyVersions() {
		var v ProxyVersion
		if err := v.UnmarshalText([]byte(word)); err != nil || v.String() != word {
			t.Errorf("%q: %v, %v", word, v, err)
		}
		if text, err := v.MarshalText(); err != nil || string(text) != word {
			t.Errorf("%v: %q, %v", v, text, err)
		}
	}
	var v ProxyVersion
	if err := v.UnmarshalText([]byte("v3")); err == nil || !strings.Contains(err.Error(), "off, v1, v2") {
		t.Errorf("v3: %v, want an error with the words there are", err)
	}
	if ProxyVersion(9).String() != "ProxyVersion(9)" {
		t.Errorf("version 9 is called %q", ProxyVersion(9))
	}
}
