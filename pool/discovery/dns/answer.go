package dns

import (
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	miekg "github.com/miekg/dns"
)

// records is what an answer says of the question.
type records struct {
	addresses []netip.Addr // of A and AAAA
	servers   []*miekg.SRV
	extra     section       // what was sent along with SRV
	ttl       time.Duration // the least of all that led here; where there are none, how long that is to be believed
	none      error         // why there are none, where the server says so: NXDOMAIN, or the SOA of the zone that has none
	alias     string        // the name to ask for instead; "" = the answer is whole
}

// maxAliases is how many CNAMEs are followed from a name to its addresses.
const maxAliases = 16

var (
	errNoName    = errors.New("no such name")
	errNoRecords = errors.New("the name has no such records")

	errLame    = errors.New("it does not serve this name")
	errBesides = errors.New("answer has other names")
	errAliases = errors.New("CNAMEs go in a circle, or there are more than 16")
)

// read makes out what a message says of the question. An error means that another server may know better.
func read(m *miekg.Msg, q question) (records, error) {
	switch {
	case m.Truncated:
		return records{}, errTruncated
	case m.Rcode != miekg.RcodeSuccess && m.Rcode != miekg.RcodeNameError:
		return records{}, errors.New(rcode(m.Rcode))
	}
	found, err := follow(newSection(m.Answer), q)
	if err != nil || found.has() {
		if q.kind == miekg.TypeSRV {
			found.extra = newSection(m.Extra)
		}
		return found, err
	}
	soa := authority(m)
	switch {
	case m.Rcode == miekg.RcodeNameError || soa != nil:
		if found.none = errNoRecords; m.Rcode == miekg.RcodeNameError {
			found.none = errNoName
		}
		if found.alias != "" {
			found.none, found.alias = fmt.Errorf("its alias %s: %w", found.alias, found.none), ""
		}
		if soa == nil {
			found.ttl = 0
		} else {
			found.ttl = min(found.ttl, seconds(soa.Hdr.Ttl), seconds(soa.Minttl)) // RFC 2308
		}
	case found.alias != "":
	case len(m.Answer) > 0:
		return records{}, errBesides
	case !m.Authoritative && !m.RecursionAvailable:
		return records{}, errLame
	}
	return found, nil
}

func (r *records) has() bool { return len(r.addresses) > 0 || len(r.servers) > 0 }

// follow finds the records of the question, by way of CNAMEs. If it gets to an end without them, that is the alias.
func follow(in section, q question) (records, error) {
	name, found := q.name, records{ttl: longest}
	for range maxAliases {
		alias := ""
		for _, record := range in[name] {
			if record.Header().Rrtype == q.kind {
				found.add(record)
			} else if cname, ok := record.(*miekg.CNAME); ok {
				// There may be only one: RFC 1034, section 3.6.2. Of more it is always the same.
				if target := miekg.CanonicalName(cname.Target); alias == "" || target < alias {
					alias = target
				}
				found.ttl = min(found.ttl, seconds(cname.Hdr.Ttl))
			}
		}
		if found.has() {
			return found, nil
		}
		if alias == "" {
			if name != q.name {
				found.alias = name
			}
			return found, nil
		}
		name = alias
	}
	return records{}, errAliases
}

// add takes one record that was asked for.
func (r *records) add(record miekg.RR) {
	r.ttl = min(r.ttl, seconds(record.Header().Ttl))
	switch record := record.(type) {
	case *miekg.A:
		r.addresses = append(r.addresses, address(record.A))
	case *miekg.AAAA:
		r.addresses = append(r.addresses, address(record.AAAA))
	case *miekg.SRV:
		r.servers = append(r.servers, record)
	}
}

// address returns the zero Addr for a record that has none.
func address(ip []byte) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

// longest is a TTL of nothing yet.
const longest = time.Duration(1<<31-1) * time.Second

// seconds returns the time of a TTL. One with the highest bit is 0: RFC 2181, section 8.
func seconds(ttl uint32) time.Duration {
	if ttl > 1<<31-1 {
		return 0
	}
	return time.Duration(ttl) * time.Second
}

// A section is a part of a message: its records by name, in lower case.
type section map[string][]miekg.RR

func newSection(all []miekg.RR) section {
	if len(all) == 0 {
		return nil
	}
	s := make(section)
	for _, record := range all {
		if record.Header().Class == miekg.ClassINET {
			name := miekg.CanonicalName(record.Header().Name)
			s[name] = append(s[name], record)
		}
	}
	return s
}

func authority(m *miekg.Msg) *miekg.SOA {
	for _, record := range m.Ns {
		if soa, ok := record.(*miekg.SOA); ok {
			return soa
		}
	}
	return nil
}

// rcode returns the word for an answer's code, such as SERVFAIL.
func rcode(code int) string {
	if word, ok := miekg.RcodeToString[code]; ok {
		return word
	}
	return "code " + strconv.Itoa(code)
}
