package dns

import (
	"context"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"testing"

	miekg "github.com/miekg/dns"

	"sluice/pool"
	"sluice/pool/discovery"
)

// FuzzAnswer reads a packet as the answer to what it says it answers, and makes backends of it. Whatever it has, they are
// in order, each once, and such that a pool takes them; and the order of its records does not matter.
func FuzzAnswer(f *testing.F) {
	for _, z := range []zone{
		{app, "app.internal. 30 IN AAAA fd00::1"},
		{"app.internal. 30 IN CNAME b.", "b. 30 IN CNAME c.", "c. 20 IN A 10.0.0.1", "c. 20 IN A 10.0.0.2"},
		{"app.internal. 30 IN CNAME b.", "b. 30 IN CNAME app.internal."},
		{"app.internal. 30 IN SRV 0 0 1 a.", "app.internal. 30 IN SRV 1 70 2 b.", "app.internal. 30 IN SRV 1 7000 3 ."},
		{},
	} {
		for _, kind := range []uint16{miekg.TypeA, miekg.TypeAAAA, miekg.TypeSRV} {
			m := z.message(f, new(miekg.Msg).SetQuestion("app.internal.", kind))
			m.Extra = []miekg.RR{record(f, "a. 30 IN A 10.0.0.1"), record(f, "b. 9 IN CNAME a."), record(f, "b. 30 IN AAAA fd00::1")}
			m.Compress = true
			packet, err := m.Pack()
			if err != nil {
				f.Fatal(err)
			}
			f.Add(packet)
		}
	}
	f.Fuzz(func(t *testing.T, packet []byte) {
		m := new(miekg.Msg)
		if m.Unpack(packet) != nil || len(m.Question) == 0 {
			return
		}
		q := question{miekg.CanonicalName(m.Question[0].Name), m.Question[0].Qtype}
		parsed, err := parse(packet, q, m.Id)
		if err != nil {
			return
		}
		all, records, err := backends(parsed, q)
		if records.ttl < 0 || records.none != nil && (len(all) > 0 || records.alias != "") {
			t.Fatalf("records %+v", records)
		}
		before := pool.Address{}
		for _, b := range all {
			ip := b.Address.TCP.Addr()
			if !ip.IsValid() || ip.IsUnspecified() || ip.IsMulticast() || ip.Is4In6() || b.Address.TCP.Port() == 0 {
				t.Fatalf("the address %v is there", b.Address)
			}
			if before.TCP.Compare(b.Address.TCP) >= 0 && before.TCP.IsValid() {
				t.Fatalf("%v is behind %v", b.Address, before)
			}
			if b.Weight != nil && (*b.Weight < 1 || *b.Weight > pool.MaxWeight) {
				t.Fatalf("weight %d", *b.Weight)
			}
			before = b.Address
		}
		if err != nil {
			return
		}
		rand.Shuffle(len(parsed.Answer), reflect.Swapper(parsed.Answer))
		rand.Shuffle(len(parsed.Extra), reflect.Swapper(parsed.Extra))
		if again, _, _ := backends(parsed, q); !reflect.DeepEqual(all, again) {
			t.Fatalf("%+v\nis in another order\n%+v", all, again)
		}
	})
}

// backends makes of a message what a source would that has nobody to ask for more.
func backends(m *miekg.Msg, q question) ([]discovery.Found, records, error) {
	r, err := read(m, q)
	if err != nil {
		return nil, records{}, err
	}
	l := newLookup(&resolver{}, &servers{}, nil)
	l.settle([]result{{question: q, records: r}})
	for _, a := range r.addresses {
		l.add(q.name, place{at: netip.AddrPortFrom(a, 80)})
	}
	l.takeServers(context.Background(), q.name, r, 0)
	return found(l.places), r, l.end()
}
