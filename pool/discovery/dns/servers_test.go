package dns

import (
	"context"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"sluice/sysutil/systest"
)

const app = "app.internal. 30 IN A 10.0.0.1"

// bad are ways to answer that are no answer.
func bad(t *testing.T) map[string]answerer {
	changed := func(change func(q, m *miekg.Msg)) answerer {
		return func(_ string, q *miekg.Msg) [][]byte {
			m := zone{app}.message(t, q)
			change(q, m)
			return packed(t, m)
		}
	}
	return map[string]answerer{
		"SERVFAIL":     says(t, miekg.RcodeServerFailure),
		"REFUSED":      says(t, miekg.RcodeRefused),
		"NOTIMP":       says(t, miekg.RcodeNotImplemented),
		"FORMERR":      says(t, miekg.RcodeFormatError),
		"header alone": changed(func(_, m *miekg.Msg) { *m = miekg.Msg{MsgHdr: m.MsgHdr}; m.Rcode = miekg.RcodeRefused }),
		"damaged answer": func(_ string, q *miekg.Msg) [][]byte {
			p := packed(t, zone{app}.message(t, q))
			p[0] = p[0][:len(p[0])-3]
			return p
		},
		"too few records": func(_ string, q *miekg.Msg) [][]byte { p := packed(t, zone{app}.message(t, q)); p[0][7]++; return p },
		"another name":    changed(func(_, m *miekg.Msg) { m.Ns, m.Answer = nil, []miekg.RR{record(t, "other.internal. 30 IN A 10.0.0.9")} }),
		"another class": changed(func(q, m *miekg.Msg) {
			m.Ns, m.Answer = nil, []miekg.RR{record(t, "app.internal. 30 CH TXT x")}
			m.Answer[0].Header().Rrtype = q.Question[0].Qtype
		}),
		"circle": changed(func(_, m *miekg.Msg) {
			m.Ns, m.Answer = nil, []miekg.RR{record(t, "app.internal. 30 IN CNAME b."), record(t, "b. 30 IN CNAME app.internal.")}
		}),
		"lame":   changed(func(_, m *miekg.Msg) { m.Answer, m.Ns, m.RecursionAvailable = nil, nil, false }),
		"no TCP": changed(func(_, m *miekg.Msg) { m.Truncated = true }),
		"empty TCP": func(network string, q *miekg.Msg) [][]byte {
			return map[string][][]byte{"udp": packed(t, truncated(t, q)), "tcp": {{}}}[network]
		},
		"closed TCP": func(network string, q *miekg.Msg) [][]byte {
			return map[string][][]byte{"udp": packed(t, truncated(t, q))}[network]
		},
		"wrong TCP": func(network string, q *miekg.Msg) [][]byte {
			m := truncated(t, q)
			if network == "tcp" {
				m = zone{app}.message(t, q)
				m.Id++
			}
			return packed(t, m)
		},
	}
}

func truncated(t *testing.T, q *miekg.Msg) *miekg.Msg {
	m := zone{}.message(t, q)
	m.Truncated = true
	return m
}

// TestFailover: the next server is asked when one has no answer, whatever it says in its place.
func TestFailover(t *testing.T) {
	first, second := listen(t, "127.0.0.1", silent), listen(t, "127.0.0.1", zone{app}.answer(t))
	for name, answer := range bad(t) {
		first.become(answer)
		source := system(DefaultConfig("app.internal", 80), nil, first.at, second.at)
		if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" {
			t.Errorf("%s: %s", name, got)
		}
		if asked := first.questions(); len(asked) < 2 {
			t.Errorf("%s: the first server was asked %q", name, asked)
		}
	}
	if got := text(system(DefaultConfig("app.internal", 80), nil, refused(t), second.at).look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Errorf("nobody listens: %s", got)
	}
	second.become(silent)
	closed := refused(t)
	got := text(system(DefaultConfig("app.internal", 80), func(s *settings) { s.timeout, s.attempts = 50*time.Millisecond, 1 },
		closed, second.at).look(t.Context(), nil))
	want := "error: look up A, AAAA of app.internal.: ask " + closed.String() + ": connection refused; ask " + second.at.String() + ": no answer in time"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestLateServer: a server that sends nothing is asked once more, and after all others the next time.
func TestLateServer(t *testing.T) {
	first, second := listen(t, "127.0.0.1", silent), listen(t, "127.0.0.1", zone{app}.answer(t))
	c := DefaultConfig("app.internal", 80)
	c.Type = A
	source := system(c, func(s *settings) { s.timeout = 100 * time.Millisecond; s.attempts = 1000 }, first.at, second.at)
	for range 2 {
		if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" {
			t.Fatal(got)
		}
	}
	if asked := first.questions(); len(asked) == 0 {
		t.Error("the first server was not asked at all")
	}
	if order := source.order(&source.settings.get().servers); !slices.Equal(order, []netip.AddrPort{second.at, first.at}) &&
		len(source.late) < 2 { // both were late where the machine is slow
		t.Errorf("the order is %v after the first was late", order)
	}
	source.late = map[netip.AddrPort]time.Time{first.at: time.Now().Add(-shunned)}
	if order := source.order(&source.settings.get().servers); order[0] != first.at {
		t.Errorf("the order is %v after a while", order)
	}
	first.become(zone{app}.answer(t))
	second.become(silent)
	if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Fatal(got)
	}
	if asked := first.questions(); len(asked) == 0 {
		t.Error("the first server was not asked after a while")
	}
}

// TestLostPackets: a server from which nothing comes is asked again, as often as that is wanted.
func TestLostPackets(t *testing.T) {
	lost := map[uint16]int{}
	s := listen(t, "127.0.0.1", func(_ string, q *miekg.Msg) [][]byte {
		if kind := q.Question[0].Qtype; lost[kind] < 3 {
			lost[kind]++
			return nil
		}
		return packed(t, zone{app}.message(t, q))
	})
	source := system(DefaultConfig("app.internal", 80), func(s *settings) { s.timeout = 50 * time.Millisecond; s.attempts = 1000 }, s.at)
	if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Error(got)
	}
	s.become(silent)
	s.questions()
	source = system(DefaultConfig("app.internal", 80), func(s *settings) { s.timeout = 10 * time.Millisecond; s.attempts = 3 }, s.at)
	want := "error: look up A, AAAA of app.internal.: ask " + s.at.String() + ": no answer in time"
	if got := text(source.look(t.Context(), nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if !systest.Wait(patience, func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.asked) == 6 }) {
		t.Errorf("asked %q", s.questions())
	}
}

// TestRotate: each question begins with another server.
func TestRotate(t *testing.T) {
	a, b := listen(t, "127.0.0.1", zone{app}.answer(t)), listen(t, "127.0.0.1", zone{app}.answer(t))
	c := DefaultConfig("app.internal", 80)
	c.Type = A
	source := system(c, func(s *settings) { s.rotate = true }, a.at, b.at)
	for range 4 {
		if got := text(source.look(t.Context(), nil)); got != "10.0.0.1:80" {
			t.Fatal(got)
		}
	}
	if a, b := len(a.questions()), len(b.questions()); a < 2 || b < 2 {
		t.Errorf("asked %d and %d times", a, b)
	}
}

// TestStrangePackets: what is not the answer is passed over, and the answer that comes after it is taken.
func TestStrangePackets(t *testing.T) {
	s := listen(t, "127.0.0.1", func(_ string, q *miekg.Msg) (all [][]byte) {
		wrong := func(change func(m *miekg.Msg)) {
			m := zone{"app.internal. 30 IN A 10.6.6.6", "evil.internal. 30 IN A 10.6.6.6"}.message(t, q)
			change(m)
			all = append(all, packed(t, m)...)
		}
		all = append(all, nil, []byte{1}, make([]byte, 11), make([]byte, 12), slices.Repeat([]byte{0xff}, 600))
		wrong(func(m *miekg.Msg) { m.Id++ })
		wrong(func(m *miekg.Msg) { m.Response = false })
		wrong(func(m *miekg.Msg) { m.Opcode = miekg.OpcodeNotify })
		wrong(func(m *miekg.Msg) { m.Question[0].Name = "evil.internal." })
		wrong(func(m *miekg.Msg) { m.Question[0].Qtype = miekg.TypeTXT })
		wrong(func(m *miekg.Msg) { m.Question[0].Qclass = miekg.ClassCHAOS })
		wrong(func(m *miekg.Msg) { m.Question = nil })
		wrong(func(m *miekg.Msg) { m.Question = append(m.Question, m.Question[0]) })
		return append(all, packed(t, zone{app}.message(t, q))...)
	})
	if got := text(system(DefaultConfig("app.internal", 80), nil, s.at).look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Error(got)
	}
}

// TestOldServer: one that does not know EDNS is asked without it.
func TestOldServer(t *testing.T) {
	for _, code := range []int{miekg.RcodeFormatError, miekg.RcodeNotImplemented, miekg.RcodeBadVers} {
		s := listen(t, "127.0.0.1", func(_ string, q *miekg.Msg) [][]byte {
			if opt := q.IsEdns0(); opt != nil {
				if opt.UDPSize() != udpSize {
					t.Errorf("answers may be %d long", opt.UDPSize())
				}
				m := new(miekg.Msg).SetRcode(q, code)
				if code == miekg.RcodeBadVers {
					m.SetEdns0(udpSize, false)
				}
				return packed(t, m)
			}
			return packed(t, zone{app}.message(t, q))
		})
		if got := text(system(DefaultConfig("app.internal", 80), nil, s.at).look(t.Context(), nil)); got != "10.0.0.1:80" {
			t.Errorf("%s: %s", rcode(code), got)
		}
	}
}

// TestTCPAlone: use-vc.
func TestTCPAlone(t *testing.T) {
	s := listen(t, "127.0.0.1", zone{app}.answer(t))
	if got := text(system(DefaultConfig("app.internal", 80), func(s *settings) { s.tcp = true }, s.at).look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Error(got)
	}
	if asked := s.questions(); !slices.Equal(asked, []string{"tcp app.internal. A", "tcp app.internal. AAAA"}) {
		t.Errorf("asked %q", asked)
	}
}

// TestIPv6: a resolver may have an IPv6 address.
func TestIPv6(t *testing.T) {
	s := listen(t, "::1", zone{app}.answer(t))
	c := DefaultConfig("app.internal", 80)
	c.Resolvers = []netip.AddrPort{s.at}
	if got := text(New(c).(*source).look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Error(got)
	}
}

// TestCancel: who waits no longer gets an error at once, and nothing stays behind.
func TestCancel(t *testing.T) {
	asked := make(chan struct{}, 10)
	s := listen(t, "127.0.0.1", func(string, *miekg.Msg) [][]byte { asked <- struct{}{}; return nil })
	source := system(DefaultConfig("app.internal", 80), func(s *settings) { s.timeout = 10 * patience }, s.at)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan string)
	go func() { done <- text(source.look(ctx, nil)) }()
	<-asked
	cancel()
	select {
	case got := <-done:
		if want := "error: look up A, AAAA of app.internal.: ask " + s.at.String() + ": no answer in time"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	case <-time.After(patience):
		t.Fatal("it still waits")
	}
	if len(source.late) > 0 {
		t.Error("the server is said to be late")
	}
}

// TestAliases: CNAMEs are followed in an answer, and asked for where it ends.
func TestAliases(t *testing.T) {
	long := zone{"a17.internal. 30 IN A 10.0.0.1"}
	for i := range 17 {
		long = append(long, "a"+strings.Repeat("x", i)+".internal. 30 IN CNAME a"+strings.Repeat("x", i+1)+".internal.")
	}
	first := func(z zone) answerer { // a server that says only where a name leads
		return func(_ string, q *miekg.Msg) [][]byte {
			m := z.message(t, q)
			if len(m.Answer) > 1 {
				m.Answer = m.Answer[:1]
			}
			if len(m.Answer) > 0 {
				m.Ns, m.Rcode = nil, 0
			}
			return packed(t, m)
		}
	}
	z := zone{"app.internal. 30 IN CNAME b.internal.", "b.internal. 20 IN CNAME c.internal.", "c.internal. 40 IN A 10.0.0.1", "c.internal. 60 IN AAAA fd00::1"}
	s := listen(t, "127.0.0.1", silent)
	for name, c := range map[string]struct {
		answer answerer
		ask    string
		want   string
		ttl    time.Duration
	}{
		"in one message": {z.answer(t), "app.internal.", "10.0.0.1:80 [fd00::1]:80", 20 * time.Second},
		"in any order": {func(_ string, q *miekg.Msg) [][]byte {
			m := z.message(t, q)
			slices.Reverse(m.Answer)
			return packed(t, m)
		}, "app.internal.", "10.0.0.1:80 [fd00::1]:80", 20 * time.Second},
		"step by step": {first(z), "app.internal.", "10.0.0.1:80 [fd00::1]:80", 20 * time.Second},
		"to nothing":   {zone{"app.internal. 3 IN CNAME b."}.answer(t), "app.internal.", "", 3 * time.Second},
		"circle asked on": {first(zone{"app.internal. 30 IN CNAME b.", "b. 30 IN CNAME app.internal."}), "app.internal.",
			"error: look up A, AAAA of app.internal.: CNAMEs go in a circle, or there are more than 16", 0},
		"to itself": {zone{"app.internal. 30 IN CNAME app.internal."}.answer(t), "app.internal.",
			"error: look up A, AAAA of app.internal.: ask SERVER: CNAMEs go in a circle, or there are more than 16", 0},
		"too long": {long.answer(t), "a.internal.",
			"error: look up A, AAAA of a.internal.: ask SERVER: CNAMEs go in a circle, or there are more than 16", 0},
	} {
		s.become(c.answer)
		a, err := system(DefaultConfig(c.ask, 80), nil, s.at).look(t.Context(), nil)
		if got := strings.ReplaceAll(text(a, err), s.at.String(), "SERVER"); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if a != nil && a.ttl != c.ttl {
			t.Errorf("%s: the TTL is %v, want %v", name, a.ttl, c.ttl)
		}
	}
}
