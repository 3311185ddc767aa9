package l4

import (
	"fmt"
	"slices"
	"testing"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// wrongAnswers are what a backend may say to the SSLRequest that sluice sends for a client,
// other than yes alone.
var wrongAnswers = map[string][]byte{
	"no":                     []byte("N"),
	"an error":               fatal("57P03"),
	"another error":          fatal("28000"),
	"an error of version 2":  []byte("EFATAL:  the database system is starting up\n\x00"),
	"GSS":                    []byte("G"),
	"lower case":             []byte("s"),
	"NUL":                    {0},
	"yes twice":              []byte("SS"),
	"yes and an error":       slices.Concat([]byte("S"), fatal("57P03")),
	"yes and a login":        slices.Concat([]byte("S"), loginAnswer(cancelKey(1, 4))),
	"yes and TLS":            []byte("S\x16\x03\x03\x00\x7a\x02"),
	"no and yes":             []byte("NS"),
	"TLS":                    []byte("\x16\x03\x03\x00\x7a\x02"),
	"HTTP":                   []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	"much":                   random(5, 20_000),
	"a login, though no key": authenticationOK,
}

// A backend that does not say yes, and nothing but yes, does not get the hello. The next one is
// asked, and the client hears nothing of it.
func TestPgnameWrongAnswer(t *testing.T) {
	for name, answer := range wrongAnswers {
		for _, send := range []ProxyVersion{ProxyOff, ProxyV2} {
			t.Run(name+", "+send.String(), func(t *testing.T) {
				way := helloWay{protocol: ProtocolPostgres, preface: sslRequest, send: send}
				r := newHelloRig(t, way, 2, rigConfig{retries: 1})
				hello := hellotest.InRecords(hellotest.Valid)
				c, header := r.begin()
				r.put(c, hello)
				bad := r.take(r.at["shop"][0])
				r.get(bad, slices.Concat(header, sslRequest))
				r.expectNothing(bad)
				r.put(bad, answer)
				ends := r.arrive(c, 1, header, hello)
				if data, _ := r.rest(bad); len(data) > 0 {
					t.Errorf("the backend got %q after its answer", data)
				}
				r.expectNothing(ends[:]...)
				r.answered(ends)
				reset(c)
				if end := r.expectEnd(ClientReset); end.Retries != 1 || end.Backend != "shop1" ||
					end.Received != uint64(answerBytes) {
					t.Errorf("ended with %+v, want 1 retry, shop1", end)
				}
				r.expectDials(pool.DialOK, pool.DialOK)
			})
		}
	}
}

// When none of them says yes, the client is told so in TLS. It has heard nothing in clear but
// the yes of sluice.
func TestPgnameNobodySaysYes(t *testing.T) {
	for name, answer := range wrongAnswers {
		for retries, want := range map[int]int{0: 1, 1: 2, 9: 3} {
			t.Run(fmt.Sprint(name, ", retries ", retries), func(t *testing.T) {
				way := helloWay{protocol: ProtocolPostgres, preface: sslRequest}
				r := newHelloRig(t, way, 3, rigConfig{retries: retries})
				c, _ := r.begin()
				r.put(c, hellotest.InRecords(hellotest.Valid))
				for _, at := range r.at["shop"][:want] {
					s := r.take(at)
					r.get(s, sslRequest)
					r.put(s, answer)
				}
				end := r.expectEnd(ServerReset)
				if end.Errno != errnoProtocol || end.Retries != want-1 || end.Received != 0 || end.ServerName != shopName {
					t.Errorf("ended with %+v, want %d retries, %v", end, want-1, errnoProtocol)
				}
				r.expect(c, tlshello.AlertInternalError.Record())
				r.expectFIN(c)
				for i, b := range r.pools["shop"].Backends() {
					if n := b.Stats().Connects; (n == 1) != (i < want) {
						t.Errorf("%d connects to %s", n, b.Name())
					}
				}
				r.expectEmpty()
			})
		}
	}
}

// A backend that has all the time it needs answers in pieces of its own: the yes alone, and
// then TLS.
func TestPgnameSlowAnswer(t *testing.T) {
	way := helloWay{protocol: ProtocolPostgres, preface: sslRequest, send: ProxyV2}
	r := newHelloRig(t, way, 1, rigConfig{})
	hello := hellotest.InRecords(hellotest.Valid)
	c, header := r.begin()
	r.put(c, hello)
	s := r.take(r.at["shop"][0])
	r.get(s, slices.Concat(header, sslRequest))
	for range 3 {
		r.now += 10 * hostilePeek
		r.expectNothing(c, s)
		r.expectState(stateAnswering)
	}
	r.put(s, []byte("S"))
	r.get(s, hello)
	r.now += 10 * hostilePeek
	r.expectNothing(c, s)
	r.put(s, []byte("S")) // of TLS now, as far as sluice knows
	r.get(c, []byte("S"))
	r.expectState(stateRelaying)
	r.quick([2]conn{c, s})
	if r.newest().login != nil {
		t.Error("a key is looked for in what is encrypted")
	}
}
