package dns

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"
)

// along adds to each answer of SRV the addresses that a zone has for its targets.
func (z zone) along(t *testing.T) answerer {
	return func(_ string, q *miekg.Msg) [][]byte {
		m := z.message(t, q)
		for _, r := range m.Answer {
			srv, ok := r.(*miekg.SRV)
			if !ok {
				continue
			}
			for _, text := range z {
				if r := record(t, text); strings.EqualFold(r.Header().Name, srv.Target) {
					m.Extra = append(m.Extra, r)
				}
			}
		}
		return packed(t, m)
	}
}

// TestServices: priorities, weights and ports of SRV, with and without the addresses along with them.
func TestServices(t *testing.T) {
	const name = "_pg._tcp.internal."
	hosts := []string{"a. 30 IN A 10.0.0.1", "b. 20 IN A 10.0.0.2", "b. 40 IN AAAA fd00::2", "c. 30 IN CNAME A.", "d. 30 IN TXT x"}
	z := func(records ...string) zone {
		var all zone
		for _, r := range records {
			all = append(all, name+" 50 IN SRV "+r)
		}
		return append(all, hosts...)
	}
	s := listen(t, "127.0.0.1", silent)
	for title, c := range map[string]struct {
		zone zone
		port uint16
		want string
		ttl  time.Duration
	}{
		"one":                    {z("0 0 5432 a."), 0, "10.0.0.1:5432", 30},
		"both families":          {z("0 5 5432 b."), 0, "10.0.0.2:5432/5 [fd00::2]:5432/5", 20},
		"ports":                  {z("0 0 5432 a.", "0 0 5433 a."), 0, "10.0.0.1:5432 10.0.0.1:5433", 30},
		"port of ours":           {z("0 0 0 a.", "0 0 5433 b."), 80, "10.0.0.1:80 10.0.0.2:80 [fd00::2]:80", 20},
		"priorities":             {z("20 1 1 a.", "10 1 1 b."), 0, "10.0.0.1:1/1/backup 10.0.0.2:1/1 [fd00::2]:1/1", 20},
		"three priorities":       {z("30 1 1 a.", "20 3 2 a.", "10 9 3 a."), 0, "10.0.0.1:1/1/backup 10.0.0.1:2/3/backup 10.0.0.1:3/9", 30},
		"listed twice":           {z("20 1 1 a.", "10 2 1 a.", "10 3 1 a."), 0, "10.0.0.1:1/3", 30},
		"case of the target":     {z("0 0 1 A."), 0, "10.0.0.1:1", 30},
		"target is an alias":     {z("0 0 1 c."), 0, "10.0.0.1:1", 30},
		"none":                   {z("0 0 0 ."), 0, "", 50},
		"no port":                {z("0 0 0 a.", "0 0 5 a."), 0, "10.0.0.1:5", 30},
		"a target with nothing":  {z("0 0 1 a.", "0 0 1 d.", "0 0 1 e."), 0, "10.0.0.1:1", 30},
		"targets with nothing":   {z("0 0 1 d.", "0 0 1 e."), 0, "error: d. has no address; e. has no address", 0},
		"no SRV":                 {z(), 0, "", 7},
		"SRV by way of an alias": {append(zone{name + " 9 IN CNAME z.", "z. 50 IN SRV 0 0 1 a."}, hosts...), 0, "10.0.0.1:1", 9},
	} {
		for way, answer := range map[string]answerer{"asked": c.zone.answer(t), "along": c.zone.along(t)} {
			s.become(answer)
			s.questions()
			a, err := system(DefaultConfig(name, c.port), nil, s.at).look(t.Context(), nil)
			if got := text(a, err); got != c.want {
				t.Errorf("%s, %s: %s, want %s", title, way, got, c.want)
			}
			if a != nil && a.ttl != c.ttl*time.Second {
				t.Errorf("%s, %s: the TTL is %v, want %ds", title, way, a.ttl, c.ttl)
			}
			if asked := s.questions(); way == "along" && title == "both families" && len(asked) != 1 {
				t.Errorf("%s, %s: asked %q", title, way, asked)
			}
		}
	}
}

// TestServiceParts: of a target that is not answered the rest is the answer, unless it had addresses the last time. The
// same holds for one family of a target that did not come along.
func TestServiceParts(t *testing.T) {
	const name = "_pg._tcp.internal."
	all := zone{name + " 30 IN SRV 0 0 1 a.", name + " 30 IN SRV 0 0 1 b.", "a. 30 IN A 10.0.0.1", "a. 30 IN AAAA fd00::1", "b. 30 IN A 10.0.0.2"}
	fails := func(_ string, q *miekg.Msg) [][]byte {
		if q.Question[0].Name == "b." {
			return packed(t, new(miekg.Msg).SetRcode(q, miekg.RcodeServerFailure))
		}
		return packed(t, all.message(t, q))
	}
	s := listen(t, "127.0.0.1", fails)
	source := system(DefaultConfig(name, 0), nil, s.at)
	a, err := source.look(t.Context(), nil)
	if got := text(a, err); got != "10.0.0.1:1 [fd00::1]:1" || !a.partial || len(a.warnings) != 1 {
		t.Errorf("found %s with %+v", got, a)
	}
	s.become(all.answer(t))
	if a, err = source.look(t.Context(), nil); text(a, err) != "10.0.0.1:1 10.0.0.2:1 [fd00::1]:1" {
		t.Fatal(text(a, err))
	}
	s.become(fails)
	want := "error: look up A, AAAA of b.: ask " + s.at.String() + ": SERVFAIL"
	if got := text(source.look(t.Context(), a.had)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	short := slices.Delete(slices.Clone(all), 3, 4)
	whole := all.answer(t)
	s.become(func(network string, q *miekg.Msg) [][]byte {
		if q.Question[0].Qtype == miekg.TypeSRV {
			return short.along(t)(network, q)
		}
		return whole(network, q)
	})
	s.questions()
	if got := text(source.look(t.Context(), a.had)); got != "10.0.0.1:1 10.0.0.2:1 [fd00::1]:1" {
		t.Errorf("found %s where one family did not come along", got)
	}
	if asked := s.questions(); !slices.Equal(asked, []string{"udp _pg._tcp.internal. SRV", "udp a. AAAA"}) {
		t.Errorf("asked %q", asked)
	}
}

// TestManyFailures: one text says it, with the first names.
func TestManyFailures(t *testing.T) {
	const name = "_pg._tcp.internal."
	var z zone
	for i := range 20 {
		z = append(z, fmt.Sprintf("%s 30 IN SRV 0 0 1 host-%d.", name, i))
	}
	s := listen(t, "127.0.0.1", func(network string, q *miekg.Msg) [][]byte {
		if q.Question[0].Qtype != miekg.TypeSRV {
			return packed(t, new(miekg.Msg).SetRcode(q, miekg.RcodeServerFailure))
		}
		return z.answer(t)(network, q)
	})
	want := "error: look up A, AAAA of host-0., host-1., host-10., 17 more: ask " + s.at.String() + ": SERVFAIL"
	if got := text(system(DefaultConfig(name, 0), nil, s.at).look(t.Context(), nil)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestAttack: a zone can name so many servers with so many addresses that nobody means it.
func TestAttack(t *testing.T) {
	const name = "_pg._tcp.internal."
	srv := new(miekg.Msg).SetReply(new(miekg.Msg).SetQuestion(name, miekg.TypeSRV))
	for i := range 1000 {
		srv.Answer = append(srv.Answer, &miekg.SRV{Hdr: miekg.RR_Header{Name: name, Rrtype: miekg.TypeSRV, Class: miekg.ClassINET, Ttl: 30},
			Port: 1, Target: fmt.Sprintf("h%d.", i)})
	}
	s := listen(t, "127.0.0.1", func(network string, q *miekg.Msg) [][]byte {
		m := new(miekg.Msg).SetReply(q)
		m.RecursionAvailable = true
		header := miekg.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: miekg.ClassINET, Ttl: 30}
		switch {
		case network == "udp":
			m.Truncated = true
		case header.Rrtype == miekg.TypeSRV:
			m.Answer = srv.Answer
		case header.Rrtype == miekg.TypeA:
			for i := range 1000 {
				m.Answer = append(m.Answer, &miekg.A{Hdr: header, A: net.IPv4(10, 0, byte(i>>8), byte(i))})
			}
		default:
			m.Ns = []miekg.RR{record(t, soa)}
		}
		return packed(t, m)
	})
	if got := text(system(DefaultConfig(name, 0), nil, s.at).look(t.Context(), nil)); got != "error: more than 20000 addresses" {
		t.Errorf("%.300s", got)
	}
	if asked := s.questions(); len(asked) > 500 {
		t.Errorf("asked %d times", len(asked))
	}
	for i, r := range srv.Answer {
		r.(*miekg.SRV).Port, r.(*miekg.SRV).Target = uint16(i+1), "h." // each address with a thousand ports
	}
	if got := text(system(DefaultConfig(name, 0), nil, s.at).look(t.Context(), nil)); got != "error: more than 20000 addresses" {
		t.Errorf("%.300s", got)
	}
}

// TestManyServices: more targets than are asked for side by side, and more than a packet has room for.
func TestManyServices(t *testing.T) {
	const name = "_pg._tcp.internal."
	var z zone
	for i := range 300 {
		z = append(z, fmt.Sprintf("%s 30 IN SRV 0 %d 5432 host-%d.internal.", name, i+1, i), fmt.Sprintf("host-%d.internal. 30 IN A 10.1.%d.%d", i, i/200, i%200))
	}
	byName := make(map[string]zone) // a question does not read all
	for _, text := range z {
		owner, _, _ := strings.Cut(text, " ")
		byName[owner] = append(byName[owner], text)
	}
	s := listen(t, "127.0.0.1", func(network string, q *miekg.Msg) [][]byte {
		return byName[q.Question[0].Name].answer(t)(network, q)
	})
	a, err := system(DefaultConfig(name, 0), nil, s.at).look(t.Context(), nil)
	if err != nil || len(a.found) != 300 || len(a.warnings) > 0 {
		t.Fatalf("found %.300s", text(a, err))
	}
	if asked := s.questions(); len(asked) != 602 {
		t.Errorf("%d questions, want one by UDP, one by TCP and two for each target", len(asked))
	}
	if least, most := *a.found[0].Weight, *a.found[299].Weight; least != 1 || most != 256 {
		t.Errorf("weights are %d to %d, want 1 to 256", least, most)
	}
}
