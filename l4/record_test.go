package l4

import (
	"bytes"
	"encoding"
	"encoding/json"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"syscall"
	"testing"
	"time"

	"sluice/l4/pgwire"
	"sluice/l4/proxyheader"
	"sluice/l4/route"
	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
	"sluice/pool"
)

// A field either is in the record, under that name, or it is said why it need not be.
const remains = "it need not: "

var travelOf = map[reflect.Type]map[string]string{
	reflect.TypeFor[session](): {
		"id": "id", "state": "state", "retries": "retries", "attempt": "attempt", "counted": "counted", "sealed": "sealed",
		"cut": "cut", "ends": "client_end, server_end", "halves": "to_server, to_client", "rules": "listener, terms",
		"target": "pool", "backend": "backend", "opening": "opening", "login": "login", "names": "names", "client": "client",
		"started": "age", "active": "idle", "connect": "connect", "lookAt": "look_in", "waited": "waited",
		"generation": remains + "of the slot", "slot": remains + "of the loop", "timer": remains + "of the loop; the state says when",
		"queued": remains + "of the loop, which lets it act when it comes", "untimed": remains + "the timer is set when it comes",
	},
	reflect.TypeFor[end](): {
		"fd": remains + "a descriptor travels beside the record", "ready": "the latched bits", "header": "header",
	},
	reflect.TypeFor[half](): {
		"pipe": remains + "it is emptied into held first", "held": "held", "bytes": "bytes", "owed": "owed", "streak": "streak",
		"noSplice": "no_splice", "eof": "eof", "done": "done",
	},
	reflect.TypeFor[names](): {
		"server": "server", "unique": "unique", "tried": "tried", "detail": remains + "it is set when the session ends",
	},
	reflect.TypeFor[opening](): {
		"input": "input", "header": "header", "packet": "packet", "answer": "answer", "kind": "kind", "sent": "sent",
		"asked": "asked_tls, asked_gss", "hello": "hello", "key": "server, protocols, database, user", "secured": "secured",
		"outcome": "outcome", "alert": "alert", "tries": "see there",
		"reader": remains + "a new one finds in input what this one has",
	},
	reflect.TypeFor[tries](): {
		"waiter": "tried, place", "waiting": "waiting", "queueBy": "queue_by", "connectBy": "connect_by", "barred": "barred",
		"lone": "lone", "final": "final", "failures": "failures", "last": "last", "reason": "reason", "errno": "errno",
		"obstacle": "obstacle",
	},
	reflect.TypeFor[obstacle](): {"errno": "errno", "again": "again", "pause": "pause", "passed": "passed"},
	reflect.TypeFor[route.Key](): {
		"ServerName": "server", "Protocols": "protocols", "Database": "database", "User": "user",
	},
	reflect.TypeFor[pgwire.KeyScanner](): {
		"head": "head", "got": "head", "left": "left", "Key": "key", "inside": "inside", "Done": "done", "Ready": "ready",
	},
	reflect.TypeFor[Try](): {"Backend": "backend", "Reason": "reason", "Errno": "errno", "Took": "took"},
	reflect.TypeFor[pool.Waiter](): {
		"Client": remains + "the session's", "Tried": "tried", "place": "place", "Granted": remains + "made anew: it tells the loop",
		"prev": remains + "of the queue", "next": remains + "of the queue", "queued": remains + "it has left the queue",
		"granted": remains + "it has left the queue",
	},
}

// Whoever adds a field to a session has to say here how it gets to the next process.
func TestEveryFieldTravels(t *testing.T) {
	for of, fields := range travelOf {
		left := make(map[string]bool)
		for name := range fields {
			left[name] = true
		}
		for i := range of.NumField() {
			name := of.Field(i).Name
			if fields[name] == "" {
				t.Errorf("%v.%s: is it to travel with a session? Say so here, and in record.go if it is", of, name)
			}
			delete(left, name)
		}
		for name := range left {
			t.Errorf("%v.%s is no field any more", of, name)
		}
	}
}

// recordRig is a rig at which sessions of the recorded version can arrive.
func recordRig(t *testing.T) *rig {
	return newPostgresRig(t, rigConfig{
		backends: []pool.Address{
			{TCP: netip.MustParseAddrPort("192.0.2.1:5432")}, {TCP: netip.MustParseAddrPort("[2001:db8::2]:5432")},
			{Unix: "/run/postgresql/.s.PGSQL.5432"},
		},
		queueMax: 10, queueTimeout: time.Hour, accept: accepting(), idle: time.Hour, fin: time.Minute, connect: time.Second,
		dead: [2]time.Duration{40 * time.Second, 50 * time.Second}, send: ProxyV2,
		listener: func(l *ListenerConfig) {
			l.Target.MaxAge = MaxAge{Age: 24 * time.Hour, Jitter: 0.25, IdleOnly: true}
			l.Target.NoteReady, l.Target.TLVs = true, []TLV{TLVUniqueID}
		},
	})
}

// sampleSessions are sessions in every state, which have between them a value in every field that travels.
func sampleSessions(r *rig) (list []*frozen) {
	rules := r.srv.listeners()[0].rules.Load()
	target, b := rules.targets.all[0], r.pool.Backends()
	hello := hellotest.InRecords(hellotest.Valid)
	header, _, err := proxyheader.Parse(must(proxyheader.Pack(must(proxyheader.Outgoing(2, nil, source4, destination4)))))
	if err != nil {
		r.t.Fatal(err)
	}
	now := r.loop.now
	add := func(s session) {
		s.id, s.rules = uint64(1000+len(list)), rules
		s.started, s.active, s.client = now-2*time.Minute, now-3*time.Second, source4
		if s.backend == nil || s.state == statePaused {
			s.ends[server].fd = -1
		}
		list = append(list, &frozen{session: s, now: now, stalled: r.loop.stalled})
	}
	add(session{state: stateReadHeader, opening: &opening{input: []byte("PROXY TCP4 192.0.2.7")}})
	add(session{state: stateReadHello, ends: [2]end{{ready: guarded}, {ready: introduced | guarded, header: 28}}, target: target, backend: b[0], connect: time.Millisecond,
		opening: &opening{header: header, input: startup[:7], kind: pgwire.SSLRequest, asked: [3]bool{pgwire.SSLRequest: true, pgwire.GSSENCRequest: true}, sent: now - time.Second}})
	waiting := session{state: stateWaiting, target: target, waited: 4 * time.Second, retries: 2, attempt: 3, counted: true,
		names: &names{unique: "an ID", tried: []Try{{"b0", ConnectRefused, syscall.ECONNREFUSED, time.Millisecond}}},
		opening: &opening{packet: startup, input: []byte("more"), key: route.Key{Database: "bob\xff", User: "alice\xfe"}, tries: tries{
			waiting: now - 2*time.Second, queueBy: now + 40*time.Second, barred: true, failures: 2, last: b[1],
			reason: ConnectRefused, errno: syscall.ECONNREFUSED, waiter: pool.Waiter{Tried: []*pool.Backend{b[0], b[1]}},
		}}}
	add(waiting)
	list[len(list)-1].place = 17
	add(session{state: stateConnecting, target: target, backend: b[1], attempt: 1, lookAt: now + time.Second, names: &names{server: "www.example.com"},
		opening: &opening{packet: pgwire.AskTLS, hello: hello, kind: pgwire.SSLRequest, secured: true, alert: tlshello.AlertUnrecognizedName,
			key: route.Key{ServerName: "www.example.com", Protocols: "\x02h2\x08http/1.1"}, tries: tries{connectBy: now + time.Second, lone: true}}})
	add(session{state: statePaused, target: target, backend: b[2], attempt: 7, halves: [2]half{{held: []byte("first")}}, opening: &opening{
		tries: tries{obstacle: &obstacle{syscall.EADDRNOTAVAIL, now + 16*time.Millisecond, 8 * time.Millisecond, []*pool.Backend{b[0]}}},
	}})
	add(session{state: stateAnswering, target: target, backend: b[0], ends: [2]end{{ready: shortReadsLie}, {ready: introduced, header: 52}},
		halves: [2]half{{bytes: 400, held: []byte("rest of the packet")}, {}}, opening: &opening{
			packet: hello, hello: hello, kind: packetHello, sent: now - time.Second, outcome: NoBackend, answer: []byte("E\x00"), tries: tries{final: true},
		}})
	add(session{state: stateRelaying, target: target, backend: b[0], sealed: true, cut: Drained, connect: 9 * time.Millisecond, waited: time.Second,
		ends:   [2]end{{ready: peerClosed | inOrder | guarded | userTimeoutLifted}, {ready: failed | introduced | shortReadsLie, header: 52}},
		halves: [2]half{{bytes: 1 << 33, held: random(1, 300), eof: true, owed: 12}, {bytes: 5, streak: 4, noSplice: true, done: true}}})
	add(session{state: stateRelaying, target: target, backend: b[1], login: scanned([]byte("R\x00\x00\x00\x08\x00\x00\x00\x00K\x00\x00\x00\x0c\x00\x00"))})
	add(session{state: stateRelaying, target: target, backend: b[1], login: scanned(loginAnswer(cancelKey(1, 4)))})
	list[len(list)-1].login.Ready = true
	return list
}

func scanned(data []byte) *pgwire.KeyScanner {
	k := new(pgwire.KeyScanner)
	k.Scan(data)
	return k
}

// A session comes to the next process as it was, in every field.
func TestRecordsKeepEverything(t *testing.T) {
	r := recordRig(t)
	for _, f := range sampleSessions(r) {
		var record Record
		if err := json.Unmarshal(must(json.Marshal(f.record())), &record); err != nil {
			t.Fatal(err)
		}
		c := &arriving{record: &record, rules: f.rules, target: f.target, backend: f.backend,
			files: []int{int(f.ends[client].fd), int(f.ends[server].fd)}}
		if err := r.loop.rebuild(c); err != nil {
			t.Fatal(err)
		}
		got, want := must(json.Marshal(c.frozen.login)), must(json.Marshal(f.login)) // which is all that counts of it
		if !bytes.Equal(got, want) {
			t.Errorf("%v: the login has become %s, was %s", f.state, got, want)
		}
		c.frozen.login, f.login = nil, nil
		if record.Counted != f.counted {
			t.Errorf("%v: counted has become %v", f.state, record.Counted)
		}
		f.counted = false // it is, when the table has it: see admitArriving
		if !reflect.DeepEqual(c.frozen.session, f.session) || c.frozen.place != f.place {
			t.Errorf("%v: has become\n%+v, was\n%+v\n%+v\n%+v", f.state, c.frozen.session, f.session, c.frozen.opening, f.opening)
		}
	}
}

// The samples leave no field out that travels: what is zero in all of them could be lost unseen.
func TestSamplesHaveEveryField(t *testing.T) {
	r := recordRig(t)
	seen := make(map[string]bool)
	for _, f := range sampleSessions(r) {
		noteFields(seen, "", reflect.ValueOf(f.record()))
	}
	if named := "BackendRecord.Host"; !seen[named] { // TestNamedBackendTravels
		delete(seen, named)
	}
	if len(seen) < 60 {
		t.Errorf("only %d fields were looked at", len(seen))
	}
	for name, is := range seen {
		if !is {
			t.Errorf("%s is zero in every sample", name)
		}
	}
}

// Version 1.0 tells by which name a backend's address was found, for nothing: the address is there.
func TestNamedBackendTravels(t *testing.T) {
	known := pool.BackendConfig{Name: "b", Address: pool.Address{TCP: netip.MustParseAddrPort("192.0.2.1:5432")}}
	next := must(pool.New(pool.Config{Name: "p", Shards: 1, Backends: []pool.BackendConfig{known}}))
	r := sent(t, []BackendRecord{{Name: "b", Address: known.Address, Host: "db.example"}})
	if r[0].Host != "db.example" {
		t.Errorf("the record is %+v", r[0])
	}
	if got := backendsFrom(next, r); !slices.Equal(got, next.Backends()) {
		t.Errorf("%v: %d are found, want the one that is", r, len(got))
	}
}

// noteFields notes which fields of v, and of what is in it, are not zero.
func noteFields(seen map[string]bool, name string, v reflect.Value) {
	_, whole := v.Interface().(json.Marshaler)
	_, text := v.Interface().(encoding.TextMarshaler)
	switch {
	case whole || text || v.Kind() != reflect.Struct && v.Kind() != reflect.Pointer && v.Kind() != reflect.Slice:
		seen[name] = seen[name] || !v.IsZero()
	case v.Kind() == reflect.Pointer:
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		noteFields(seen, name, v.Elem())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		noteFields(seen, name, reflect.Zero(v.Type().Elem())) // one that is empty has fields, too
		for i := range v.Len() {
			noteFields(seen, name, v.Index(i))
		}
	case v.Kind() == reflect.Slice:
		seen[name] = seen[name] || v.Len() > 0
	default:
		for i := range v.NumField() {
			noteFields(seen, v.Type().Name()+"."+v.Type().Field(i).Name, v.Field(i))
		}
	}
}

// What version 1.0 has written is read by every version after it, and no field of it is lost. The file is never written
// anew: sessions that later versions add have one of their own.
func TestRecordsOfFirstVersion(t *testing.T) {
	r := recordRig(t)
	var records []Record
	data := must(os.ReadFile("testdata/records-1.0.json"))
	if err := json.Unmarshal(data, &records); err != nil {
		t.Fatal(err)
	}
	var files []int
	for i := range records {
		files = append(files, r.socket())
		if records[i].ServerEnd != nil {
			files = append(files, r.socket())
		}
	}
	var a *Arrival
	var refused []int
	r.briskly("adopt what was recorded", func() (err error) { a, refused, err = r.srv.Adopt(records, files); return err })
	if len(refused) > 0 {
		t.Fatalf("%v are refused: %s", refused, r.logs.String())
	}
	var states []state
	for i, c := range a.come {
		var got, want any
		f := &c.frozen
		f.now, f.stalled = r.loop.now, r.loop.stalled
		json.Unmarshal(must(json.Marshal(f.record())), &got)
		json.Unmarshal(must(json.Marshal(records[i])), &want)
		if !reflect.DeepEqual(got, want) { // the clock of the test stands still
			t.Errorf("record %d has become\n%v, was\n%v", i, got, want)
		}
		states = append(states, f.state)
	}
	for _, s := range travelling {
		if !slices.Contains(states, s) {
			t.Errorf("no session is in state %v", s)
		}
	}
	r.expectKnown(data)
	r.briskly("drop them", func() error { a.Drop(); return nil })
	for _, b := range r.pool.All() {
		b.Expect(0)
	}
}

// socket returns one end of a connection of which the test keeps the other one.
func (r *rig) socket() int {
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	r.sockets = append(r.sockets, pair[1])
	return pair[0]
}

// expectKnown checks that every key of the recorded JSON is one that is read.
func (r *rig) expectKnown(data []byte) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var records []Record
	if err := d.Decode(&records); err != nil {
		r.t.Errorf("a field of the first version is not read any more: %v", err)
	}
}
