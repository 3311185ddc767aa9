package l4

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// hostileTLS are clients of a listener of TLS, by name.
func hostileTLS() map[string]hostile {
	table := map[string]hostile{
		"silence":                       {nil, waits, HelloTimeout, nil},
		"a port check":                  {nil, closes, ClientClosed, nil},
		"one byte, then silence":        {fromClient([]byte{22}), waits, HelloTimeout, tooLate},
		"one byte, then FIN":            {fromClient([]byte{22}), closes, HelloInvalid, nil},
		"two bytes, then silence":       {fromClient([]byte{22, 3}), waits, HelloTimeout, tooLate},
		"only a head, then silence":     {fromClient([]byte{22, 3, 1, 2, 0}), waits, HelloTimeout, tooLate},
		"cut hello, then silence":       {fromClient(hellotest.InRecords(hellotest.Valid)[:80]), waits, HelloTimeout, tooLate},
		"cut hello, then FIN":           {fromClient(hellotest.InRecords(hellotest.Valid)[:80]), closes, HelloInvalid, nil},
		"last byte missing, silence":    {fromClient(cutLast(hellotest.InRecords(hellotest.Valid))), waits, HelloTimeout, tooLate},
		"last byte missing, FIN":        {fromClient(cutLast(hellotest.InRecords(hellotest.Valid))), closes, HelloInvalid, nil},
		"one of two records, silence":   {fromClient(hellotest.Start), waits, HelloTimeout, tooLate},
		"one of two records, FIN":       {fromClient(hellotest.Start), closes, HelloInvalid, nil},
		"promises 64 KiB, then silence": {fromClient(zeroHello(tlshello.MaxHello)[:100]), waits, HelloTimeout, tooLate},
		"name of no route":              {fromClient(helloFor("a.example")), stays, NoRoute, noName},
		"name of no route, FIN":         {fromClient(helloFor("a.example")), closes, NoRoute, noName},
		"name of no route, and more": {fromClient(helloFor("a.example"), hellotest.Record(23, random(1, 9000))), stays, NoRoute,
			noName},
		"two labels under a wildcard": {fromClient(helloFor("a.b.wild.example")), stays, NoRoute, noName},
		"no label under a wildcard":   {fromClient(helloFor("wild.example")), stays, NoRoute, noName},
		"no name":                     {fromClient(hellotest.InRecords(hellotest.Message(hellotest.ALPN("h2")))), stays, NoRoute, noName},
		"an address for a name":       {fromClient(helloFor("192.0.2.1")), stays, NoRoute, noName},
		"no extensions":               {fromClient(hellotest.InRecords(hellotest.Handshake(1, hellotest.Fields))), stays, NoRoute, noName},
		"wrong ALPN":                  {fromClient(helloFor("api.example", "h3")), stays, NoRoute, noName},
		"no ALPN":                     {fromClient(helloFor("api.example")), stays, NoRoute, noName},
	}
	for name, bad := range hellotest.Bad {
		table[name] = hostile{fromClient(plain(bad)), stays, HelloInvalid, alertFor(bad)}
	}
	return table
}

func cutLast(data []byte) []byte { return data[:len(data)-1] }

// zeroHello is a message of about so many bytes that says ClientHello, and no more.
func zeroHello(size int) []byte {
	return hellotest.InRecords(hellotest.Handshake(1, make([]byte, size-100)))
}

func helloFor(name string, protocols ...string) []byte {
	if len(protocols) == 0 {
		return hellotest.InRecords(hellotest.Message(hellotest.ServerNames(hellotest.HostName(name))))
	}
	message := hellotest.Message(hellotest.ServerNames(hellotest.HostName(name)), hellotest.ALPN(protocols...))
	return hellotest.InRecords(message)
}

// hostileRoutes are routes that take none of the hostile clients.
var hostileRoutes = []routeTo{
	sni("shop", "shop.example"), sni("shop", "*.wild.example"),
	{route.Rule{SNI: []string{"api.example"}, ALPN: []string{"h2"}}, "api"},
}

// Without a pool of its own a listener of TLS refuses what it cannot route, each in the
// way that the client understands, and no backend hears of it.
func TestMalformedTLS(t *testing.T) {
	table := hostileTLS()
	if len(table) < 80 {
		t.Errorf("%d sessions, want at least 80", len(table))
	}
	hostilePlays(t, func(t *testing.T) *routedRig {
		return newRoutedRig(t, rigConfig{protocol: ProtocolTLS, peek: hostilePeek}, 1, "", hostileRoutes...)
	}, table)
}

// The same behind a PROXY header in the same segment.
func TestMalformedTLSBehindHeader(t *testing.T) {
	table := map[string]hostile{}
	for name, h := range hostileTLS() {
		h.dialogue = slices.Clone(h.dialogue)
		if len(h.dialogue) == 0 {
			h.dialogue = fromClient(nil)
		}
		h.dialogue[0].data = slices.Concat(proxyTCP4, h.dialogue[0].data)
		table[name] = h
	}
	hostilePlays(t, func(t *testing.T) *routedRig {
		config := rigConfig{protocol: ProtocolTLS, peek: hostilePeek, accept: accepting()}
		return newRoutedRig(t, config, 1, "", hostileRoutes...)
	}, table)
}

// With a pool of its own it gets all of them there: exactly what they have sent, behind the
// header.
func TestMalformedTLSWithPool(t *testing.T) {
	for _, send := range []ProxyVersion{ProxyOff, ProxyV2} {
		t.Run(send.String(), func(t *testing.T) {
			config := rigConfig{protocol: ProtocolTLS, peek: hostilePeek, send: send}
			r := newRoutedRig(t, config, 1, "all", hostileRoutes...)
			table := hostileTLS()
			for name, bad := range hellotest.Bad { // here nothing need be left out
				table[name] = hostile{dialogue: fromClient(bad.Data), reason: HelloInvalid}
			}
			delete(table, "a port check")
			for _, name := range slices.Sorted(maps.Keys(table)) {
				t.Run(name, func(t *testing.T) {
					r.t = t
					r.expectAtPool(table[name], send)
				})
			}
			r.t = t
			r.expectEmpty()
			r.expectUnasked("all")
		})
	}
}

// expectAtPool checks that what a hostile client sends comes to the pool of the listener,
// and that bytes and the FIN pass from there on.
func (r *routedRig) expectAtPool(h hostile, send ProxyVersion) {
	r.t.Helper()
	c := r.dialNow()
	header := r.headerFor(c, send)
	var sent []byte
	for _, say := range h.dialogue {
		sent = append(sent, say.data...)
	}
	r.putAll(c, sent)
	if h.then == waits {
		r.until("all is read", func() bool { s := r.newest(); return s != nil && len(s.input()) == len(sent) })
		r.now += hostilePeek - time.Millisecond
		r.turns(3)
		r.expectState(stateReadHello)
		r.now += time.Millisecond + tick
	}
	if h.then == closes {
		c.CloseWrite()
	}
	s := r.take(r.at["all"][0])
	r.get(s, header)
	if h.reason == NoRoute {
		r.get(s, sent) // a hello, and what came with it
		r.put(s, []byte("answer"))
		r.get(c, []byte("answer"))
	} else {
		r.get(s, sent)
	}
	if h.then == closes {
		r.expectFIN(s)
		r.exchange(s, c, 2)
		s.Close()
		r.expectFIN(c)
		r.expectEnd(ClientClosed)
		return
	}
	ends := [2]conn{c, s}
	r.quick(ends)
	reset(c)
	end := r.expectEnd(ClientReset)
	if end.Pool != "all" || end.Sent != uint64(len(header)+len(sent)+quickBytes) {
		r.t.Errorf("ended with %+v, want pool all, %d bytes sent", end, len(header)+len(sent)+quickBytes)
	}
	s.Close()
}

// A client that goes on sending what is refused gets the alert all the same.
func TestMalformedAndMuchMore(t *testing.T) {
	r := newRoutedRig(t, rigConfig{protocol: ProtocolTLS}, 1, "", hostileRoutes...)
	for name, alert := range map[string]tlshello.Alert{
		"64 KiB": 80, "record of 2^16-1": 22, "two messages, one record": 10, "empty record between": 10,
	} {
		t.Run(name, func(t *testing.T) {
			r.t = t
			c := r.dialNow()
			data := slices.Concat(hellotest.Bad[name].Data, random(1, 200_000))
			go writeAll(c, data) // it need not get rid of it
			r.expectEnd(HelloInvalid)
			got, err := r.rest(c)
			if string(got) != string(alert.Record()) || err != nil && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the client read %q, %v, want alert %d", got, err, alert)
			}
		})
	}
	r.t = t
	r.expectUnasked()
}

// Bytes do not move the deadline, however many there are.
func TestHelloDripTimeout(t *testing.T) {
	for _, fallback := range []string{"", "all"} {
		t.Run(fmt.Sprintf("pool %q", fallback), func(t *testing.T) {
			r := newRoutedRig(t, rigConfig{protocol: ProtocolTLS, peek: hostilePeek}, 1, fallback, hostileRoutes...)
			c := r.dialNow()
			r.until("the hello is awaited", func() bool { return r.newest() != nil })
			sent := hellotest.InRecords(hellotest.Valid)[:50]
			for i := range sent {
				r.now += hostilePeek/50 - time.Microsecond
				r.put(c, sent[i:i+1])
				r.until("it is read", func() bool { return len(r.newest().input()) == i+1 })
			}
			r.turns(3)
			r.expectState(stateReadHello)
			r.now += 50*time.Microsecond + tick
			if fallback != "" {
				r.get(r.take(r.at[fallback][0]), sent)
				return
			}
			r.expectEnd(HelloTimeout)
			r.expect(c, tooLate)
			r.expectFIN(c)
		})
	}
}
