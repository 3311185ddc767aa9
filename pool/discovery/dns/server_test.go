package dns

import (
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// patience is how long a test waits for what is bound to happen.
const patience = time.Minute

// A server is a DNS server on a UDP and a TCP socket that the test answers itself.
type server struct {
	t  *testing.T
	at netip.AddrPort

	mu     sync.Mutex
	answer answerer
	asked  []string // "udp app.internal. A"
}

// An answerer returns the packets to send for a question; none = silence.
type answerer func(network string, q *miekg.Msg) [][]byte

// listen starts a server that ends with the test.
func listen(t *testing.T, ip string, answer answerer) *server {
	t.Helper()
	s := &server{t: t, answer: answer}
	var udp net.PacketConn
	var tcp net.Listener
	for { // until a port is free for both
		var err error
		if udp, err = net.ListenPacket("udp", net.JoinHostPort(ip, "0")); err != nil {
			t.Fatal(err)
		}
		if tcp, err = net.Listen("tcp", udp.LocalAddr().String()); err == nil {
			break
		}
		udp.Close()
	}
	s.at = udp.LocalAddr().(*net.UDPAddr).AddrPort()
	s.at = netip.AddrPortFrom(s.at.Addr().Unmap(), s.at.Port())
	var ended sync.WaitGroup
	t.Cleanup(func() { udp.Close(); tcp.Close(); ended.Wait() })
	ended.Go(func() { s.serveUDP(udp) })
	ended.Go(func() { s.serveTCP(tcp) })
	return s
}

func (s *server) serveUDP(socket net.PacketConn) {
	packet := make([]byte, 65536)
	for {
		n, from, err := socket.ReadFrom(packet)
		if err != nil {
			return
		}
		for _, p := range s.reply("udp", packet[:n]) {
			_, _ = socket.WriteTo(p, from)
		}
	}
}

func (s *server) serveTCP(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		func() {
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			size := make([]byte, 2)
			if _, err := io.ReadFull(conn, size); err != nil {
				return
			}
			packet := make([]byte, binary.BigEndian.Uint16(size))
			if _, err := io.ReadFull(conn, packet); err != nil {
				return
			}
			for _, p := range s.reply("tcp", packet) {
				_, _ = conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...))
			}
		}()
	}
}

func (s *server) reply(network string, packet []byte) [][]byte {
	q := new(miekg.Msg)
	if err := q.Unpack(packet); err != nil {
		s.t.Errorf("the question cannot be read: %v", err)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, network+" "+q.Question[0].Name+" "+miekg.TypeToString[q.Question[0].Qtype])
	return s.answer(network, q)
}

// become lets the server answer in another way from now on.
func (s *server) become(answer answerer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer = answer
}

// questions returns what it was asked since the last time, sorted.
func (s *server) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked := s.asked
	s.asked = nil
	slices.Sort(asked)
	return asked
}

func packed(t *testing.T, m *miekg.Msg) [][]byte {
	m.Compress = true
	p, err := m.Pack()
	if err != nil {
		t.Errorf("the answer cannot be made: %v", err)
		return nil
	}
	return [][]byte{p}
}

// A zone is the records of a resolver, as a zone file has them. A name that has other records but not these, and one that
// has none at all, are denied with an SOA.
type zone []string

const soa = "internal. 7 IN SOA ns.internal. root.internal. 1 1 1 1 9"

func record(t testing.TB, text string) miekg.RR {
	r, err := miekg.NewRR(text)
	if err != nil {
		t.Errorf("record %q: %v", text, err)
	}
	return r
}

// message returns the whole answer that the zone has.
func (z zone) message(t testing.TB, q *miekg.Msg) *miekg.Msg {
	m := new(miekg.Msg).SetReply(q)
	m.RecursionAvailable = true
	exists, name := false, q.Question[0].Name
	for range z {
		next := ""
		for _, text := range z {
			r := record(t, text)
			if !strings.EqualFold(r.Header().Name, name) {
				continue
			}
			exists = true
			if r.Header().Rrtype == q.Question[0].Qtype {
				m.Answer = append(m.Answer, r)
			} else if c, ok := r.(*miekg.CNAME); ok {
				m.Answer = append(m.Answer, r)
				next = c.Target
			}
		}
		if next == "" {
			break
		}
		exists, name = false, next
	}
	if !exists {
		m.Rcode = miekg.RcodeNameError
	}
	if len(m.Answer) == 0 || m.Answer[len(m.Answer)-1].Header().Rrtype == miekg.TypeCNAME {
		m.Ns = []miekg.RR{record(t, soa)}
	}
	return m
}

func (z zone) answer(t *testing.T) answerer {
	return func(network string, q *miekg.Msg) [][]byte {
		m := z.message(t, q)
		if p := packed(t, m); network == "tcp" || len(p[0]) <= udpSize {
			return p
		}
		m.Truncated, m.Answer = true, nil
		return packed(t, m)
	}
}

// says answers everything with a code.
func says(t *testing.T, code int) answerer {
	return func(_ string, q *miekg.Msg) [][]byte { return packed(t, new(miekg.Msg).SetRcode(q, code)) }
}

// silent answers nothing.
func silent(string, *miekg.Msg) [][]byte { return nil }

// refused returns an address where nobody listens until the test is over: a socket that is connected to another has the
// port, and gets nothing from anybody else.
func refused(t *testing.T) netip.AddrPort {
	t.Helper()
	socket, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket.LocalAddr().(*net.UDPAddr).AddrPort()
}

// system lets a source ask some servers, as if resolv.conf named them. There is no hosts file.
func system(c Config, change func(*settings), list ...netip.AddrPort) *source {
	s := New(c).(*source)
	is := &settings{servers: servers{list: list, timeout: 5 * time.Second, attempts: 3}, ndots: 1}
	if change != nil {
		change(is)
	}
	s.settings = &file[*settings]{parse: func([]byte) *settings { return is }}
	s.hosts = nil
	return s
}

// text returns an answer in one line: "10.0.0.1:80 10.0.0.2:80/5 10.0.0.3:80/5/backup".
func text(a *answer, err error) string {
	if err != nil {
		return "error: " + err.Error()
	}
	var all []string
	for _, f := range a.found {
		one := f.Address.String()
		if f.Weight != nil {
			one += "/" + strconv.Itoa(*f.Weight)
		}
		if f.Backup != nil && *f.Backup {
			one += "/backup"
		}
		all = append(all, one)
	}
	return strings.Join(all, " ")
}
