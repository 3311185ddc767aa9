package dns

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	miekg "github.com/miekg/dns"

	"sluice/pool/discovery"
)

// TestAddresses: all of both families, each once and in the order of addresses.
func TestAddresses(t *testing.T) {
	s := listen(t, "127.0.0.1", zone{
		"app.internal. 30 IN A 10.0.0.2", "app.internal. 20 IN A 10.0.0.1", "app.internal. 40 IN A 10.0.0.2",
		"app.internal. 60 IN AAAA fd00::1", "app.internal. 60 IN AAAA ::ffff:10.0.0.3", "app.internal. 60 IN AAAA ::ffff:10.0.0.1",
	}.answer(t))
	for kind, want := range map[Type]string{
		Auto: "10.0.0.1:80 10.0.0.2:80 10.0.0.3:80 [fd00::1]:80",
		A:    "10.0.0.1:80 10.0.0.2:80",
		AAAA: "10.0.0.1:80 10.0.0.3:80 [fd00::1]:80",
	} {
		c := DefaultConfig("App.Internal", 80)
		c.Type, c.Resolvers = kind, []netip.AddrPort{s.at}
		source := New(c).(*source)
		a, err := source.look(t.Context(), nil)
		if got := text(a, err); got != want {
			t.Errorf("type %s: %s, want %s", kind, got, want)
		}
		if found, err := source.Ask(t.Context()); err != nil || len(found) != len(a.found) {
			t.Errorf("type %s: Ask has %v, %v", kind, found, err)
		}
		if least := map[Type]time.Duration{Auto: 20, A: 20, AAAA: 60}[kind] * time.Second; a != nil && a.ttl != least {
			t.Errorf("type %s: the TTL is %v, want %v", kind, a.ttl, least)
		}
	}
}

// TestCaseOfNames: letters may come back in another case.
func TestCaseOfNames(t *testing.T) {
	z := zone{"App.INTERNAL. 30 IN CNAME Web.Internal.", "WEB.internal. 30 IN A 10.0.0.1"}
	s := listen(t, "127.0.0.1", func(_ string, q *miekg.Msg) [][]byte {
		m := z.message(t, q)
		m.Question[0].Name = strings.ToUpper(m.Question[0].Name)
		return packed(t, m)
	})
	if got := text(system(DefaultConfig("app.internal.", 80), nil, s.at).look(t.Context(), nil)); got != "10.0.0.1:80" {
		t.Errorf("found %s", got)
	}
}

// TestAddressesOfNobody are left out. Where no other is left, that is no answer.
func TestAddressesOfNobody(t *testing.T) {
	s := listen(t, "127.0.0.1", zone{
		"some.internal. 30 IN A 0.0.0.0", "some.internal. 30 IN A 224.0.0.1", "some.internal. 30 IN A 10.0.0.1", "some.internal. 30 IN AAAA ff02::1",
		"none.internal. 30 IN A 0.0.0.0", "none.internal. 30 IN AAAA ::",
	}.answer(t))
	a, err := system(DefaultConfig("some.internal", 80), nil, s.at).look(t.Context(), nil)
	if got := text(a, err); got != "10.0.0.1:80" {
		t.Fatalf("found %s", got)
	}
	want := "some.internal. has 0.0.0.0, which is not the address of a server"
	if len(a.warnings) != 3 || a.warnings[0] != want {
		t.Errorf("warnings %q, want 3 like %q", a.warnings, want)
	}
	got := text(system(DefaultConfig("none.internal", 80), nil, s.at).look(t.Context(), nil))
	want = "error: none.internal. has 0.0.0.0, which is not the address of a server; none.internal. has ::, which is not the address of a server"
	if got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// TestNothing: that a name has no addresses is an answer only of a server that says so.
func TestNothing(t *testing.T) {
	empty := func(change func(*miekg.Msg)) answerer {
		return func(_ string, q *miekg.Msg) [][]byte {
			m := new(miekg.Msg).SetReply(q)
			m.RecursionAvailable = true
			change(m)
			return packed(t, m)
		}
	}
	const (
		noName    = "none: look up A, AAAA of app.internal.: ask SERVER: no such name"
		noRecords = "none: look up A, AAAA of app.internal.: ask SERVER: the name has no such records"
		noAlias   = "none: look up A, AAAA of app.internal.: ask SERVER: its alias web.internal.: no such name"
	)
	s := listen(t, "127.0.0.1", silent)
	for name, c := range map[string]struct {
		answer answerer
		want   string
		ttl    time.Duration
	}{
		"NXDOMAIN with SOA":    {zone{}.answer(t), noName, 7 * time.Second},
		"NXDOMAIN without SOA": {empty(func(m *miekg.Msg) { m.Rcode = miekg.RcodeNameError }), noName, 0},
		"NODATA with SOA":      {zone{"app.internal. 30 IN TXT x"}.answer(t), noRecords, 7 * time.Second},
		"NXDOMAIN of an alias": {zone{"app.internal. 30 IN CNAME web.internal."}.answer(t), noAlias, 7 * time.Second},
		"NODATA without SOA": {empty(func(m *miekg.Msg) {}),
			"error: look up A, AAAA of app.internal.: no records, and no SOA that says so", 0},
		"a referral": {empty(func(m *miekg.Msg) { m.RecursionAvailable = false }),
			"error: look up A, AAAA of app.internal.: ask SERVER: it does not serve this name", 0},
		"records of another name": {empty(func(m *miekg.Msg) { m.Answer = []miekg.RR{record(t, "other. 1 IN A 10.0.0.1")} }),
			"error: look up A, AAAA of app.internal.: ask SERVER: answer has other names", 0},
		"SERVFAIL": {says(t, miekg.RcodeServerFailure), "error: look up A, AAAA of app.internal.: ask SERVER: SERVFAIL", 0},
		"REFUSED":  {says(t, miekg.RcodeRefused), "error: look up A, AAAA of app.internal.: ask SERVER: REFUSED", 0},
		"no word":  {says(t, 13), "error: look up A, AAAA of app.internal.: ask SERVER: code 13", 0},
	} {
		s.become(c.answer)
		a, err := system(DefaultConfig("app.internal", 80), nil, s.at).look(t.Context(), nil)
		got := text(a, err)
		if a != nil {
			got = "none: " + a.reason
		}
		if got = strings.ReplaceAll(got, s.at.String(), "SERVER"); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if a != nil && a.ttl != c.ttl {
			t.Errorf("%s: believed for %v, want %v", name, a.ttl, c.ttl)
		}
	}
}

// TestOneFamily: when only one family is answered, that is an answer if the other had no address the last time.
func TestOneFamily(t *testing.T) {
	const v4, v6 = "app.internal. 30 IN A 10.0.0.1", "app.internal. 30 IN AAAA fd00::1"
	// fails answers from a zone, but for one type.
	fails := func(kind uint16, z zone) answerer {
		return func(_ string, q *miekg.Msg) [][]byte {
			if q.Question[0].Qtype == kind {
				return packed(t, new(miekg.Msg).SetRcode(q, miekg.RcodeServerFailure))
			}
			return packed(t, z.message(t, q))
		}
	}
	s := listen(t, "127.0.0.1", silent)
	for name, c := range map[string]struct {
		before answerer // nil: nothing is known
		now    answerer
		want   string
	}{
		"nothing known":                    {nil, fails(miekg.TypeAAAA, zone{v4, v6}), "10.0.0.1:80"},
		"IPv4 alone before":                {zone{v4}.answer(t), fails(miekg.TypeAAAA, zone{v4}), "10.0.0.1:80"},
		"IPv4 alone before, and failed":    {fails(miekg.TypeAAAA, zone{v4}), fails(miekg.TypeAAAA, zone{v4}), "10.0.0.1:80"},
		"both before":                      {zone{v4, v6}.answer(t), fails(miekg.TypeAAAA, zone{v4}), "error: look up AAAA of app.internal.: ask SERVER: SERVFAIL"},
		"both before, IPv4 fails":          {zone{v4, v6}.answer(t), fails(miekg.TypeA, zone{v6}), "error: look up A of app.internal.: ask SERVER: SERVFAIL"},
		"IPv6 alone before":                {zone{v6}.answer(t), fails(miekg.TypeAAAA, zone{v4}), "error: look up AAAA of app.internal.: ask SERVER: SERVFAIL"},
		"one fails, the other has nothing": {nil, fails(miekg.TypeAAAA, zone{"app.internal. 1 IN TXT x"}), "error: look up AAAA of app.internal.: ask SERVER: SERVFAIL"},
		"one fails, no such name":          {nil, fails(miekg.TypeA, zone{}), "error: look up A of app.internal.: ask SERVER: SERVFAIL"},
	} {
		source := system(DefaultConfig("app.internal", 80), nil, s.at)
		var before map[question]bool
		if c.before != nil {
			s.become(c.before)
			a, err := source.look(t.Context(), nil)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			before = a.had
		}
		s.become(c.now)
		a, err := source.look(t.Context(), before)
		if got := strings.ReplaceAll(text(a, err), s.at.String(), "SERVER"); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
		if a != nil && (!a.partial || len(a.warnings) != 1) {
			t.Errorf("%s: partial %t, warnings %q", name, a.partial, a.warnings)
		}
	}
}

// TestThousands: an answer that fills a message whole comes by TCP.
func TestThousands(t *testing.T) {
	var z zone
	for i := range 4000 {
		z = append(z, fmt.Sprintf("app.internal. 30 IN A 10.1.%d.%d", i/250, i%250))
	}
	whole := z.message(t, new(miekg.Msg).SetQuestion("app.internal.", miekg.TypeA))
	nothing := zone{"app.internal. 30 IN TXT x"}
	s := listen(t, "127.0.0.1", func(network string, q *miekg.Msg) [][]byte {
		m := nothing.message(t, q)
		if q.Question[0].Qtype == miekg.TypeA {
			m = whole.Copy().SetReply(q)
			m.Answer = whole.Answer
			if network == "udp" {
				m.Answer, m.Truncated = m.Answer[:50], true
			}
		}
		return packed(t, m)
	})
	a, err := system(DefaultConfig("app.internal", 80), nil, s.at).look(t.Context(), nil)
	if err != nil || len(a.found) != 4000 {
		t.Fatalf("found %.200s", text(a, err))
	}
	if want := []string{"tcp app.internal. A", "udp app.internal. A", "udp app.internal. AAAA"}; !slices.Equal(s.questions(), want) {
		t.Errorf("asked other than %q", want)
	}
}

// TestManyReasons: however many reasons a server makes up for thousands of targets, a few of them are said.
func TestManyReasons(t *testing.T) {
	l := newLookup(nil, nil, nil)
	for i := range 5000 {
		l.failed = append(l.failed, result{question: question{fmt.Sprintf("t%d.", i), miekg.TypeA}, err: fmt.Errorf("its alias a%d.: SERVFAIL", i)})
	}
	texts := reasons(l.failed)
	if len(texts) != maxWarnings+1 || texts[maxWarnings] != "and 4980 more questions for other reasons" {
		t.Errorf("%d texts, the last: %s", len(texts), texts[len(texts)-1])
	}
}

// TestReasonOfNothing: who asks once, and who follows, is told whom was asked for what where there are no backends.
func TestReasonOfNothing(t *testing.T) {
	s := listen(t, "127.0.0.1", zone{}.answer(t))
	c := DefaultConfig("app.internal", 80)
	c.Resolvers = []netip.AddrPort{s.at}
	want := "look up A, AAAA of app.internal.: ask " + s.at.String() + ": no such name"
	found, err := New(c).Ask(t.Context())
	if warned := (discovery.Warnings)(nil); len(found) != 0 || !errors.As(err, &warned) || err.Error() != "it has no backends now: "+want {
		t.Errorf("Ask has %v, %v", found, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	New(c).Run(ctx, func(r discovery.Report) {
		cancel()
		if r.Err != nil || r.Reason != want {
			t.Errorf("%+v", r)
		}
	})
}
