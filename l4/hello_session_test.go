package l4

import (
	"math/rand/v2"
	"slices"
	"testing"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

const shopName = "shop.example.com"

// A helloRig passes hellos for shop.example.com on to the pool "shop".
type helloRig struct {
	*routedRig
	way helloWay
}

// A helloWay is how a ClientHello comes to sluice, and leaves it.
type helloWay struct {
	name     string
	protocol Protocol
	preface  []byte // is answered by S before the hello, and replayed to the backend; nil = nothing is
	in       []byte // the PROXY header in one segment with what is first; nil = none
	send     ProxyVersion
	out      []byte // the PROXY header that the backend gets for in
}

var proxyTCP4 = v2(commandProxy, familyTCP4, addresses4)

var helloWays = []helloWay{
	{name: "tls", protocol: ProtocolTLS},
	{name: "tls, to v2", protocol: ProtocolTLS, send: ProxyV2},
	{name: "tls, from v1", protocol: ProtocolTLS, in: []byte(lineTCP4)},
	{name: "tls, from v1 to v2", protocol: ProtocolTLS, in: []byte(lineTCP4), send: ProxyV2, out: proxyTCP4},
	{name: "tls, from v2", protocol: ProtocolTLS, in: proxyTCP4},
	{name: "tls, from v2 to v2", protocol: ProtocolTLS, in: proxyTCP4, send: ProxyV2, out: proxyTCP4},
	{name: "postgres", protocol: ProtocolPostgres, preface: sslRequest},
	{name: "postgres, to v2", protocol: ProtocolPostgres, preface: sslRequest, send: ProxyV2},
	{name: "postgres, from v2 to v2", protocol: ProtocolPostgres, preface: sslRequest, in: proxyTCP4, send: ProxyV2,
		out: proxyTCP4},
	{name: "postgres, direct", protocol: ProtocolPostgres},
	{name: "postgres, direct, to v2", protocol: ProtocolPostgres, send: ProxyV2},
	{name: "postgres, direct, from v1 to v2", protocol: ProtocolPostgres, in: []byte(lineTCP4), send: ProxyV2,
		out: proxyTCP4},
}

func newHelloRig(t *testing.T, way helloWay, backends int, c rigConfig) *helloRig {
	t.Helper()
	c.protocol, c.send = way.protocol, way.send
	if way.in != nil {
		c.accept = accepting()
	}
	return &helloRig{newRoutedRig(t, c, backends, "", sni("other", "other.example.com"), sni("shop", shopName)), way}
}

// begin opens a connection and brings it to where the hello is due. header is what the
// backend is to get before everything else.
func (r *helloRig) begin() (c conn, header []byte) {
	r.t.Helper()
	c = r.dialNow()
	header = r.way.out
	if r.way.in == nil {
		header = r.headerFor(c, r.way.send)
	}
	if r.way.preface != nil {
		r.put(c, slices.Concat(r.way.in, r.way.preface))
		r.get(c, []byte("S"))
	}
	return c, header
}

// opening is what a client at the hello sends first, when that is data.
func (r *helloRig) opening(data []byte) []byte {
	if r.way.preface == nil {
		return slices.Concat(r.way.in, data)
	}
	return data
}

// answered lets a backend answer, and a few bytes pass each way.
func (r *helloRig) answered(ends [2]conn) {
	r.t.Helper()
	r.put(ends[server], []byte("answer"))
	r.get(ends[client], []byte("answer"))
	r.quick(ends)
}

// answerBytes is how many bytes answered passes to the client.
const answerBytes = len("answer") + quickBytes

// arrive takes the connection at a backend and checks what comes there: the header, the
// preface, to which the backend says yes, and the data.
func (r *helloRig) arrive(c conn, i int, header, data []byte) (ends [2]conn) {
	r.t.Helper()
	ends = [2]conn{client: c, server: r.take(r.at["shop"][i])}
	if r.way.preface != nil {
		r.get(ends[server], slices.Concat(header, r.way.preface))
		r.put(ends[server], []byte("S"))
		header = nil
	}
	r.get(ends[server], slices.Concat(header, data))
	return ends
}

// pass opens a session that sends data, a hello first, in parts that are cut there, each
// read before the next is sent. It checks that the backend gets it as it is, that bytes
// pass both ways then, and what was counted.
func (r *helloRig) pass(data []byte, cuts ...int) {
	r.t.Helper()
	c, header := r.begin()
	first, sent := r.opening(nil), 0
	for _, cut := range append(cuts, len(data)) {
		r.put(c, slices.Concat(first, data[sent:cut]))
		first, sent = nil, cut
		if cut < len(data) {
			r.until("the part is read", func() bool {
				s := r.newest()
				return s != nil && s.state == stateReadHello && len(s.input()) == cut
			})
		}
	}
	ends := r.arrive(c, 0, header, data)
	r.answered(ends)
	r.finish(ends, "shop", shopName, len(header)+len(r.way.preface)+len(data)+quickBytes, answerBytes)
}

// eachHello runs a test for every recorded hello in every way that it may come.
func eachHello(t *testing.T, f func(r *helloRig, hello []byte)) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 1, rigConfig{})
			for name, hello := range hellotest.Recorded() {
				t.Run(name, func(t *testing.T) {
					r.t = t
					f(r, hello.Data)
				})
			}
			r.t = t
			r.expectEmpty()
			if n := r.pools["other"].Backends()[0].Stats().Connects; n != 0 {
				t.Errorf("%d connects to the other pool", n)
			}
		})
	}
}

// The backend gets every byte of a hello, and no other, in whatever parts it came.
func TestHelloArrives(t *testing.T) {
	eachHello(t, func(r *helloRig, hello []byte) {
		r.pass(hello)
		var every []int
		for n := 1; n < len(hello); n++ {
			every = append(every, n)
		}
		r.pass(hello, every...)
	})
}

// The same, cut in two at every byte. Every seventh will do behind a PROXY header, which was
// read before, and where the same way with a header sends every byte.
func TestHelloArrivesInTwo(t *testing.T) {
	eachHello(t, func(r *helloRig, hello []byte) {
		step := 1
		if r.way.in != nil || r.way.send == ProxyOff {
			step = 7
		}
		for cut := 1; cut < len(hello); cut += step {
			r.pass(hello, cut)
		}
	})
}

// The same over several records, with borders between them anywhere, and bytes behind it
// as of a client that does not wait (0-RTT).
func TestHelloArrivesInRecords(t *testing.T) {
	eachHello(t, func(r *helloRig, hello []byte) {
		message := hellotest.Unframed(hello)
		rnd := rand.New(rand.NewPCG(2, uint64(len(message))))
		for _, at := range []int{1, 2, 3, 4, 5, len(message) - 1} {
			r.pass(hellotest.InRecords(message, at))
		}
		for records := 2; records <= 5; records++ {
			for range 8 {
				data := hellotest.InRecords(message, hellotest.Cuts(rnd, len(message), records)...)
				r.pass(data)
				r.pass(data, 1+rnd.IntN(len(data)-1))
				r.pass(slices.Concat(data, hellotest.Record(20, []byte{1}), hellotest.Record(23, random(3, rnd.IntN(8000)))))
			}
		}
	})
}

// What follows the hello in much greater quantity comes after it, though not before the
// backend has answered: until then another one may have to be given all of it.
func TestHelloThenStream(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 1, rigConfig{})
			hello := hellotest.Recorded()["go-1.26"].Data
			behind := random(4, 3<<20)
			c, header := r.begin()
			failed := make(chan error, 1)
			go func() { failed <- writeAll(c, r.opening(slices.Concat(hello, behind))) }()
			ends := r.arrive(c, 0, header, hello)
			r.settle()
			r.expectState(stateAnswering)
			if n := len(r.newest().opening.packet); n > len(hello)+helloRead {
				t.Errorf("%d bytes are kept for a hello of %d", n, len(hello))
			}
			r.put(ends[server], []byte("answer"))
			r.get(c, []byte("answer"))
			r.expect(ends[server], behind)
			if err := <-failed; err != nil {
				t.Fatal(err)
			}
			r.streamBothWays(ends, 1<<20)
			want := len(header) + len(way.preface) + len(hello) + len(behind) + 1<<20
			r.finish(ends, "shop", shopName, want, len("answer")+1<<20)
		})
	}
}

// The longest hello there may be passes like any other, beside a header that leaves no
// room for it in the loop's buffer.
func TestLongestHelloArrives(t *testing.T) {
	for _, way := range helloWays {
		t.Run(way.name, func(t *testing.T) {
			r := newHelloRig(t, way, 1, rigConfig{})
			const record = tlshello.MaxRecord
			for _, size := range []int{record + tlshello.RecordHead, record + 100, 4 * record, tlshello.MaxHello} {
				data := hellotest.OfSize(t, size)
				for _, part := range []int{tlshello.MaxHello, 10_000, 1448} {
					c, header := r.begin()
					for piece := range slices.Chunk(r.opening(data), part) {
						r.putAll(c, piece)
					}
					ends := r.arrive(c, 0, header, data)
					r.answered(ends)
					want := len(header) + len(way.preface) + len(data) + quickBytes
					r.finish(ends, "shop", shopName, want, answerBytes)
				}
			}
		})
	}
}
