package l4

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/proxyheader"
	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/pool"
)

// An OpeningRecord is the part of a session that matters before it relays. Names that a client
// has sent may be any bytes, which a string of JSON is not.
type OpeningRecord struct {
	Input     []byte         `json:"input,omitempty"`
	Header    []byte         `json:"header,omitempty"` // of PROXY, in version 2
	Packet    []byte         `json:"packet,omitempty"`
	Hello     []byte         `json:"hello,omitempty"`
	Answer    []byte         `json:"answer,omitempty"`
	Kind      pgwire.Kind    `json:"kind,omitempty"` // 0 startup, 1 SSLRequest, 2 GSSENCRequest, 3 cancel request, 4 TLS without asking, 5 a ClientHello
	Sent      time.Duration  `json:"sent,omitempty"`
	AskedTLS  bool           `json:"asked_tls,omitempty"`
	AskedGSS  bool           `json:"asked_gss,omitempty"`
	Server    string         `json:"server,omitempty"`
	Protocols []byte         `json:"protocols,omitempty"`
	Database  []byte         `json:"database,omitempty"`
	User      []byte         `json:"user,omitempty"`
	Secured   bool           `json:"secured,omitempty"`
	Outcome   Reason         `json:"outcome,omitzero"`
	Alert     tlshello.Alert `json:"alert,omitempty"`

	Tried     []BackendRecord `json:"tried,omitempty"`
	Place     uint64          `json:"place,omitempty"` // in the queue
	Waiting   time.Duration   `json:"waiting,omitempty"`
	QueueBy   time.Duration   `json:"queue_by,omitempty"`
	ConnectBy time.Duration   `json:"connect_by,omitempty"`
	Barred    bool            `json:"barred,omitempty"`
	Lone      bool            `json:"lone,omitempty"`
	Final     bool            `json:"final,omitempty"`
	Failures  int             `json:"failures,omitempty"`
	Last      *BackendRecord  `json:"last,omitempty"`
	Reason    Reason          `json:"reason,omitzero"`
	Errno     syscall.Errno   `json:"errno,omitempty"`
	Obstacle  *ObstacleRecord `json:"obstacle,omitempty"`
}

// An ObstacleRecord is what a session has met on its way to a backend.
type ObstacleRecord struct {
	Errno  syscall.Errno   `json:"errno"`
	Again  time.Duration   `json:"again,omitempty"`
	Pause  time.Duration   `json:"pause,omitempty"`
	Passed []BackendRecord `json:"passed,omitempty"`
}

func (o *opening) record(now time.Duration) *OpeningRecord {
	r := &OpeningRecord{
		Input: o.input, Hello: o.hello, Answer: o.answer, Kind: o.kind, Sent: since(o.sent, now),
		AskedTLS: o.asked[pgwire.SSLRequest], AskedGSS: o.asked[pgwire.GSSENCRequest],
		Server: o.key.ServerName, Protocols: []byte(o.key.Protocols), Database: []byte(o.key.Database), User: []byte(o.key.User),
		Secured: o.secured, Outcome: o.outcome, Alert: o.alert,
		Tried: recordsOf(o.waiter.Tried), Waiting: since(o.waiting, now), QueueBy: until(o.queueBy, now),
		ConnectBy: until(o.connectBy, now), Barred: o.barred, Lone: o.lone, Final: o.final, Failures: o.failures,
		Reason: o.reason, Errno: o.errno,
	}
	if o.header != nil {
		r.Header, _ = proxyheader.Pack(o.header) // see travels
	}
	if !o.showsHello() {
		r.Packet = o.packet
	}
	if o.last != nil {
		b := recordOf(o.last)
		r.Last = &b
	}
	if ob := o.obstacle; ob != nil {
		r.Obstacle = &ObstacleRecord{ob.errno, until(ob.again, now), ob.pause, recordsOf(ob.passed)}
	}
	return r
}

// showsHello reports whether the first packet is the ClientHello: then they are the same bytes.
func (o *opening) showsHello() bool {
	return o.hello != nil && o.packet != nil && o.kind == packetHello
}

// opening returns what the record is of, for a session that goes to a pool; nil = none is
// chosen.
func (r *OpeningRecord) opening(p *pool.Pool, now time.Duration) (*opening, error) {
	o := &opening{
		input: slices.Clip(r.Input), packet: orNil(r.Packet), hello: orNil(r.Hello), answer: orNil(r.Answer),
		kind: r.Kind, sent: ago(r.Sent, now),
		key:     route.Key{ServerName: r.Server, Protocols: tlshello.ProtocolList(r.Protocols), Database: string(r.Database), User: string(r.User)},
		secured: r.Secured, outcome: r.Outcome, alert: r.Alert,
	}
	if r.Kind > packetHello || r.Kind == packetHello && o.hello == nil {
		return nil, fmt.Errorf("first packet of kind %d: not known", r.Kind)
	}
	o.asked[pgwire.SSLRequest], o.asked[pgwire.GSSENCRequest] = r.AskedTLS, r.AskedGSS
	if r.Kind == packetHello && o.packet == nil {
		o.packet = o.hello
	}
	if len(r.Header) > 0 {
		header, _, err := proxyheader.Parse(r.Header)
		if err != nil {
			return nil, fmt.Errorf("read the PROXY header: %w", err)
		}
		o.header = header
	}
	o.tries = tries{
		waiting: ago(r.Waiting, now), queueBy: ahead(r.QueueBy, now), connectBy: ahead(r.ConnectBy, now),
		barred: r.Barred, lone: r.Lone, final: r.Final, failures: r.Failures, reason: r.Reason, errno: r.Errno,
	}
	o.waiter.Tried = backendsFrom(p, r.Tried)
	if r.Last != nil {
		if last := backendsFrom(p, []BackendRecord{*r.Last}); len(last) > 0 {
			o.last = last[0]
		}
	}
	if ob := r.Obstacle; ob != nil {
		o.obstacle = &obstacle{ob.Errno, ahead(ob.Again, now), ob.Pause, backendsFrom(p, ob.Passed)}
	}
	return o, nil
}

// backendsFrom returns the backends of a pool that some records are of. Who is not there any more
// cannot be tried again either.
func backendsFrom(p *pool.Pool, records []BackendRecord) (list []*pool.Backend) {
	if p == nil || len(records) == 0 {
		return nil
	}
	all := p.All()
	for _, r := range records {
		is := func(b *pool.Backend) bool { return b.Name() == r.Name && b.Address() == r.Address } // here its IP may be configured
		if i := slices.IndexFunc(all, is); i >= 0 {
			list = append(list, all[i])
		}
	}
	return list
}

func orNil(data []byte) []byte {
	if len(data) == 0 {
		return nil
	}
	return slices.Clip(data)
}
