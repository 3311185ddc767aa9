package l4

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"sluice/l4/proxyheader"
)

// tlvRig is a TLS listener that sends a version 2 header with these fields. accept: it asks for a
// header, too.
func tlvRig(t *testing.T, protocol Protocol, accept bool, tlvs ...TLV) *routedRig {
	t.Helper()
	config := rigConfig{protocol: protocol, send: ProxyV2}
	if accept {
		config.accept = accepting()
	}
	config.listener = func(l *ListenerConfig) { l.Target.TLVs = tlvs }
	if protocol == ProtocolTCP {
		return newRoutedRig(t, config, 1, "all")
	}
	return newRoutedRig(t, config, 1, "all", sni("other", "other.example.com"))
}

// tlvSession opens a session with these first bytes and returns the header that the backend
// gets, as the library reads it and as it came.
func (r *routedRig) tlvSession(first, hello []byte) (header *proxyproto.Header, raw []byte, end End) {
	r.t.Helper()
	c := r.dialNow()
	r.put(c, slices.Concat(first, hello))
	s := r.take(r.at["all"][0])
	head := r.getSome(s, proxyheader.FixedV2)
	body := r.getSome(s, int(binary.BigEndian.Uint16(head[14:])))
	r.get(s, hello)
	r.put(s, []byte("answer"))
	r.get(c, []byte("answer"))
	r.quick([2]conn{c, s})
	stats := r.newest()
	unique, name := r.srv.uniqueIDOf(stats), stats.serverName()
	reset(c)
	end = r.expectEnd(ClientReset)
	s.Close()
	if end.UniqueID != unique || end.ServerName != name || end.Sent != uint64(len(head)+len(body)+len(hello)+quickBytes) {
		r.t.Errorf("ended with %+v; it was called %q and %q before", end, unique, name)
	}
	raw = append(head, body...)
	reader := bufferOf(raw)
	header, err := proxyproto.Read(reader)
	if err != nil || reader.Buffered() > 0 {
		r.t.Fatalf("the library reads %q: %v, %d bytes left", raw, err, reader.Buffered())
	}
	return header, raw, end
}

// getSome reads n bytes.
func (r *rig) getSome(c conn, n int) []byte {
	r.t.Helper()
	data, got := make([]byte, n), 0
	r.until("bytes come", func() bool {
		if got < n {
			more, _ := receiveNow(c, data[got:])
			got += more
		}
		return got == n
	})
	return data
}

// tlvFields are the values of TLVs.
type tlvFields map[proxyproto.PP2Type]string

// fieldsOf are the fields of a header, each of which must be there once.
func fieldsOf(t *testing.T, header *proxyproto.Header) tlvFields {
	t.Helper()
	fields := tlvFields{}
	for _, tlv := range must(header.TLVs()) {
		if _, twice := fields[tlv.Type]; twice {
			t.Errorf("field %#x is there twice", tlv.Type)
		}
		fields[tlv.Type] = string(tlv.Value)
	}
	return fields
}

// expectChecksum computes the checksum as the specification has it: over all of the header,
// with zeros for itself.
func expectChecksum(t *testing.T, raw []byte, sum string) {
	t.Helper()
	at := bytes.LastIndex(raw, field(typeChecksum, []byte(sum)))
	if at < 0 || len(sum) != 4 {
		t.Fatalf("there is no checksum %x in %q", sum, raw)
	}
	zeroed := slices.Clone(raw)
	clear(zeroed[at+3 : at+7])
	want := binary.BigEndian.AppendUint32(nil, crc32.Checksum(zeroed, crc32.MakeTable(crc32.Castagnoli)))
	if sum != string(want) {
		t.Errorf("checksum %x, want %x", sum, want)
	}
}

// Every set of fields, for every kind of client, with nothing and with everything said by an
// earlier hop: what was read here goes first, a unique ID stays, the rest is passed on, and the
// checksum is right.
func TestTLVCombinations(t *testing.T) {
	earlier := slices.Concat(
		field(typeALPN, []byte("old")), field(typeAuthority, []byte("old.example")), field(typeUniqueID, []byte("old-id-1")),
		field(typeCustom, []byte("\x00\xff")),
	)
	said := tlvFields{typeALPN: "old", typeAuthority: "old.example", typeUniqueID: "old-id-1",
		typeCustom: "\x00\xff"}
	headers := map[string]struct {
		raw  []byte
		said tlvFields
	}{
		"nothing":  {nil, nil},
		"v1":       {[]byte(lineTCP4), nil},
		"v2":       {proxyTCP4, nil},
		"v2, said": {v2(commandProxy, familyTCP4, addresses4, earlier), said},
		"v2, IPv6": {v2(commandProxy, familyTCP6, addresses6, earlier), said},
		"v2, sum":  {summed(commandProxy, familyTCP4, addresses4, earlier), said},
		"v2, Unix": {v2(commandProxy, familyUnix, pathsUnix, earlier), said},
		"v2 LOCAL": {v2(commandLocal, familyTCP4, addresses4, earlier), nil},
	}
	clients := []routeCase{
		{"Shop.example.com", []string{"h2", "http/1.1"}, ""}, {"shop.example.com", nil, ""}, {"", []string{"\x00x"}, ""},
		{"", nil, ""},
	}
	for set := range 1 << numTLVs {
		var wanted []TLV
		for tlv := range numTLVs {
			if set>>tlv&1 != 0 {
				wanted = append(wanted, tlv)
			}
		}
		for name, from := range headers {
			t.Run(fmt.Sprintf("%v, %s", wanted, name), func(t *testing.T) {
				r := tlvRig(t, ProtocolTLS, from.raw != nil, wanted...)
				for _, c := range clients {
					header, raw, end := r.tlvSession(from.raw, c.hello())
					got := fieldsOf(t, header)
					want := wantedFields(wanted, c, from.said, r.srv.uniqueIDs.of(end.ID).String())
					if _, ok := want[typeChecksum]; ok {
						expectChecksum(t, raw, got[typeChecksum])
						want[typeChecksum] = got[typeChecksum]
					}
					if fmt.Sprint(got) != fmt.Sprint(want) {
						t.Errorf("%+v: the backend is told %q, want %q", c, got, want)
					}
					if end.UniqueID != want[typeUniqueID] || end.ServerName != strings.ToLower(c.serverName) {
						t.Errorf("ended with %+v, want unique ID %q", end, want[typeUniqueID])
					}
				}
			})
		}
	}
}

// wantedFields is what a backend is to be told.
func wantedFields(wanted []TLV, c routeCase, said tlvFields, id string) tlvFields {
	want := tlvFields{}
	for kind, value := range said {
		want[kind] = value
	}
	for _, tlv := range wanted {
		switch {
		case tlv == TLVAuthority && c.serverName != "":
			want[typeAuthority] = strings.ToLower(c.serverName)
		case tlv == TLVALPN && c.protocols != nil:
			want[typeALPN] = c.protocols[0]
		case tlv == TLVUniqueID && said[typeUniqueID] == "":
			want[typeUniqueID] = id
		case tlv == TLVCRC32C:
			want[typeChecksum] = ""
		}
	}
	return want
}

// What an earlier hop has called a session is what it is called here, whatever it is made of, and
// whether or not the pool asks for it.
func TestTLVUniqueIDKept(t *testing.T) {
	f := func(name, id, shown string) {
		t.Helper()
		for _, wanted := range [][]TLV{nil, {TLVUniqueID}, {TLVUniqueID, TLVCRC32C}} {
			t.Run(fmt.Sprint(name, wanted), func(t *testing.T) {
				for _, protocol := range []Protocol{ProtocolTCP, ProtocolTLS} {
					r := tlvRig(t, protocol, true, wanted...)
					first := v2(commandProxy, familyTCP4, addresses4, field(typeUniqueID, []byte(id)))
					header, _, end := r.tlvSession(first, helloFor("a.example"))
					if got := fieldsOf(t, header)[typeUniqueID]; got != id || end.UniqueID != shown {
						t.Errorf("the backend is told %q, the log says %q; want %q and %q", got, end.UniqueID, id, shown)
					}
				}
			})
		}
	}
	f("text", "req-0001", "req-0001")
	f("longest", strings.Repeat("x", 128), strings.Repeat("x", 128))
	f("bytes", "\x00\x01\xfe\xff", "0001feff")
	f("a line end", "id\nlevel=error", hex.EncodeToString([]byte("id\nlevel=error")))
	f("a space", "a b", "612062")
	f("DEL", "a\x7f", "617f")
}

// Two sessions are never called the same, and each by what its log says.
func TestTLVUniqueIDDiffers(t *testing.T) {
	r := tlvRig(t, ProtocolTLS, false, TLVUniqueID)
	seen := map[string]bool{}
	for range 50 {
		header, _, end := r.tlvSession(nil, helloFor("a.example"))
		id := fieldsOf(t, header)[typeUniqueID]
		if len(id) != 32 || seen[id] || end.UniqueID != id {
			t.Errorf("the backend is told %q, the log says %q", id, end.UniqueID)
		}
		seen[id] = true
	}
}

// An empty unique ID is none: the session has the name that the log shows, or no name at all.
func TestTLVUniqueIDEmpty(t *testing.T) {
	for _, wanted := range [][]TLV{nil, {TLVUniqueID}} {
		r := tlvRig(t, ProtocolTLS, true, wanted...)
		first := v2(commandProxy, familyTCP4, addresses4, field(typeUniqueID, nil))
		header, _, end := r.tlvSession(first, helloFor("a.example"))
		if got := fieldsOf(t, header)[typeUniqueID]; got != end.UniqueID {
			t.Errorf("%v: the backend is told %q, the log says %q", wanted, got, end.UniqueID)
		}
	}
}

// A session has one name, also when it is brought to several backends, and from one pool to
// another.
func TestTLVRetried(t *testing.T) {
	config := rigConfig{protocol: ProtocolPostgres, send: ProxyV2, retries: 1}
	config.listener = func(l *ListenerConfig) {
		l.Routes[0].Target.TLVs = []TLV{TLVUniqueID, TLVAuthority, TLVALPN, TLVCRC32C}
	}
	r := newRoutedRig(t, config, 2, "", sni("shop", "*"))
	c := r.dialNow()
	r.put(c, sslRequest)
	r.get(c, []byte("S"))
	hello := helloFor("db1.example.com", "postgresql")
	r.put(c, hello)
	var headers [2][]byte
	for i := range headers {
		s := r.take(r.at["shop"][i])
		var header *proxyproto.Header
		header, reader := r.readHeaderOf(s)
		headers[i] = must(header.Format())
		fields := fieldsOf(t, header)
		if fields[typeAuthority] != "db1.example.com" || fields[typeALPN] != "postgresql" || len(fields) != 4 {
			t.Errorf("the backend is told %q", fields)
		}
		if got := must(reader.Peek(len(sslRequest))); !bytes.Equal(got, sslRequest) {
			t.Errorf("behind the header comes %q", got)
		}
		s.Close()
	}
	if !bytes.Equal(headers[0], headers[1]) {
		t.Errorf("headers differ: %q and %q", headers[0], headers[1])
	}
	if end := r.expectEnd(ServerReset); !bytes.Contains(headers[0], []byte(end.UniqueID)) || len(end.UniqueID) != 32 {
		t.Errorf("ended with %+v", end)
	}
}

// A refused session was never called anything, as no backend has heard of it; what an earlier
// hop has called it is still said.
func TestTLVRefused(t *testing.T) {
	for _, id := range []string{"", "old"} {
		config := rigConfig{protocol: ProtocolTLS, send: ProxyV2, accept: accepting()}
		config.listener = func(l *ListenerConfig) { l.Routes[0].Target.TLVs = []TLV{TLVUniqueID} }
		r := newRoutedRig(t, config, 1, "", sni("shop", "a.example"))
		first := proxyTCP4
		if id != "" {
			first = v2(commandProxy, familyTCP4, addresses4, field(typeUniqueID, []byte(id)))
		}
		c := r.dialNow()
		r.put(c, slices.Concat(first, helloFor("b.example")))
		if end := r.expectEnd(NoRoute); end.UniqueID != id || end.ServerName != "b.example" || end.Client != source4 {
			t.Errorf("ended with %+v, want unique ID %q", end, id)
		}
	}
}

// A header of version 1 has no fields, whatever an earlier hop has said.
func TestTLVNotInVersionOne(t *testing.T) {
	r := newRoutedRig(t, rigConfig{protocol: ProtocolTLS, send: ProxyV1, accept: accepting()}, 1, "", sni("shop", "*"))
	c := r.dialNow()
	fields := slices.Concat(field(typeUniqueID, []byte("old")), field(typeAuthority, []byte("x")))
	first := v2(commandProxy, familyTCP4, addresses4, fields)
	r.put(c, slices.Concat(first, helloFor("a.example", "h2")))
	r.expectHello(c, r.at["shop"][0], []byte(lineTCP4), helloFor("a.example", "h2"))
	reset(c)
	if end := r.expectEnd(ClientReset); end.UniqueID != "old" || end.ServerName != "a.example" {
		t.Errorf("ended with %+v", end)
	}
}
