package dns

import (
	"encoding/binary"
	"errors"
	"strings"

	miekg "github.com/miekg/dns"
)

// A question is what a server is asked: one type of records of one name.
type question struct {
	name string // whole, in lower case, with the dot at its end
	kind uint16 // miekg.TypeA, miekg.TypeAAAA or miekg.TypeSRV
}

// isThatOf reports whether a message repeats the question. The case of letters says nothing: RFC 4343.
func (q question) isThatOf(m *miekg.Msg) bool {
	return len(m.Question) == 1 && m.Question[0].Qtype == q.kind && m.Question[0].Qclass == miekg.ClassINET &&
		strings.EqualFold(m.Question[0].Name, q.name)
}

// udpSize is how long an answer by UDP may be: what gets through every network in one piece. Longer ones come by TCP.
const udpSize = 1232

// message returns the question as it is sent.
func (q question) message(edns bool) *miekg.Msg {
	m := new(miekg.Msg).SetQuestion(q.name, q.kind)
	if edns {
		m.SetEdns0(udpSize, false)
	}
	return m
}

var (
	errForeign   = errors.New("answer to another question")
	errDamaged   = errors.New("damaged answer")
	errTruncated = errors.New("answer is longer than 64 KB")
)

// parse reads a packet that came in reply to a question. errForeign means that it has nothing to do with the question, and
// that the answer may still come: anybody can send such a packet. One that is truncated has perhaps not all it says.
func parse(packet []byte, q question, id uint16) (*miekg.Msg, error) {
	if len(packet) < 12 || binary.BigEndian.Uint16(packet) != id {
		return nil, errForeign
	}
	m := new(miekg.Msg)
	err := m.Unpack(packet)
	bare := err == nil && len(m.Question) == 0 && m.Rcode != miekg.RcodeSuccess // some repeat no question when they refuse it
	switch {
	case !m.Response || m.Opcode != miekg.OpcodeQuery || !bare && !q.isThatOf(m):
		return nil, errForeign
	case m.Truncated:
		return m, nil
	case err != nil, len(m.Answer) != int(binary.BigEndian.Uint16(packet[6:])): // Unpack takes fewer for all
		return nil, errDamaged
	}
	return m, nil
}
