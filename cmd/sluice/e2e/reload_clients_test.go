package e2e

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// question is the size of what clients ask. The answer is the letter of the server, and the question.
const question = 16

// startServers starts those that reloadConfigs names.
func (r *reloadRig) startServers(t *testing.T) {
	t.Helper()
	a := newAuthority(t)
	certificate := a.issue("servers", "a.test", "b.test")
	pair, err := tls.LoadX509KeyPair(certificate.file, certificate.key)
	if err != nil {
		t.Fatal(err)
	}
	server := &tls.Config{Certificates: []tls.Certificate{pair}}
	r.clients.tls = &tls.Config{RootCAs: a.pool, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	for _, name := range []string{"kk", "a1", "a2", "b1", "b2", "sa1", "sa2", "sb1", "sb2"} {
		letter, secure := name[0], name[0] == 's'
		if secure {
			letter = name[1]
		}
		l := listenHere(t)
		r.values[name] = serveConns(t, l, func(c net.Conn) {
			if secure {
				c = tls.Server(c, server)
			}
			answerQuestions(c, letter)
		})
		r.servers[name] = l.Addr().(*net.TCPAddr).Port
	}
}

func answerQuestions(c net.Conn, letter byte) {
	answer := make([]byte, 1+question)
	answer[0] = letter
	for {
		if _, err := io.ReadFull(c, answer[1:]); err != nil {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// reloadPlaces are where clients connect. The letter says which servers answer there.
var reloadPlaces = []reloadPlace{
	{at: "t0", letter: 'a'}, {at: "t1", letter: 'b'}, {at: "u0", letter: 'a'}, {at: "k", letter: 'k'},
	{at: "s", name: "a.test", letter: 'a'}, {at: "s", name: "b.test", letter: 'b'},
	{at: "c0", letter: 'a', goes: true}, {at: "c1", letter: 'b', goes: true}, {at: "cu", letter: 'a', goes: true},
}

type reloadPlace struct {
	at     string // one of reloadRig.values
	name   string // to ask for with TLS; "" = without TLS
	letter byte
	goes   bool // nobody may be there
}

// reloadClients is what all clients have in common.
type reloadClients struct {
	tls   *tls.Config
	asked atomic.Uint64
}

var errNobodyThere = errors.New("nobody listens there")

// connect opens a session, which has no answer yet.
func (r *reloadRig) connect(p reloadPlace) (net.Conn, error) {
	network, address := "tcp", r.values[p.at]
	if path, ok := strings.CutPrefix(address, "unix:"); ok {
		network, address = "unix", path
	}
	c, err := net.DialTimeout(network, address, patient)
	if err != nil && p.goes && isRefused(err) {
		return nil, errNobodyThere
	}
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(patient))
	if p.name != "" {
		config := r.clients.tls.Clone()
		config.ServerName = p.name
		c = tls.Client(c, config)
	}
	return c, nil
}

// ask checks that the right server answers.
func (r *reloadRig) ask(c net.Conn, p reloadPlace) error {
	c.SetDeadline(time.Now().Add(patient))
	asks, answer := make([]byte, question), make([]byte, 1+question)
	binary.BigEndian.PutUint64(asks, r.clients.asked.Add(1))
	if _, err := c.Write(asks); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, answer); err != nil {
		return err
	}
	if want := string(p.letter) + string(asks); string(answer) != want {
		return fmt.Errorf("the answer is %q, want %q", answer, want)
	}
	return nil
}

// A longSession is there all the time.
type longSession struct {
	net.Conn
	place reloadPlace
}

// openLong opens sessions at the places that stay.
func (r *reloadRig) openLong(n int) {
	r.t.Helper()
	stay := reloadPlaces[:6]
	var next atomic.Int64
	conns := dialMany(r.t, n, func() (net.Conn, error) {
		p := stay[int(next.Add(1))%len(stay)]
		c, err := r.connect(p)
		if err != nil {
			return nil, err
		}
		return longSession{c, p}, r.ask(c, p)
	})
	for _, c := range conns {
		r.long = append(r.long, c.(longSession))
	}
}

// askLong asks n long sessions, others with each step.
func (r *reloadRig) askLong(step, n int) {
	r.t.Helper()
	for i := range n {
		s := r.long[(step*n+i)%len(r.long)]
		if err := r.ask(s, s.place); err != nil {
			r.t.Fatalf("a long session at %s %s: %v", s.place.at, s.place.name, err)
		}
	}
}

// closeLong checks that all long sessions are there to the end.
func (r *reloadRig) closeLong() {
	r.t.Helper()
	r.askLong(0, len(r.long))
	for _, s := range r.long {
		s.Close()
	}
}

// reloadLoad is what clients that come and go have seen.
type reloadLoad struct {
	served, absent atomic.Uint64
	slowest        [2]atomic.Int64 // at addresses that stay, and at those that come and go
}

func (l *reloadLoad) String() string {
	slowest := func(i int) time.Duration { return time.Duration(l.slowest[i].Load()).Round(time.Microsecond) }
	return fmt.Sprintf("%d short sessions were served, the slowest in %v, and in %v where addresses come and go and %d found nobody",
		l.served.Load(), slowest(0), slowest(1), l.absent.Load())
}

// restOfClient is how long a client that comes and goes is away: there are to be many of them, not all that the machine can
// have.
const restOfClient = 4 * time.Millisecond

// startLoad lets clients connect, ask, and leave, until stop is called: that returns when all have, and each was served.
func (r *reloadRig) startLoad() (stop func()) {
	over := make(chan struct{})
	var clients sync.WaitGroup
	for _, p := range reloadPlaces {
		clients.Go(func() {
			rest := time.NewTicker(restOfClient)
			defer rest.Stop()
			served := r.load.served.Load()
			for {
				select {
				case <-over:
					if r.load.served.Load() == served {
						r.t.Errorf("at %s nobody was served", p.at)
					}
					return
				case <-rest.C:
				}
				if err := r.come(p); err != nil {
					r.t.Errorf("a client at %s %s: %v", p.at, p.name, err)
					return
				}
			}
		})
	}
	return func() {
		r.t.Helper()
		close(over)
		clients.Wait()
		if r.t.Failed() {
			r.t.Fatalf("sessions that have ended badly: %+v; %v lines were dropped; sluice warns of: %s", r.endedBadly(),
				r.metrics()["sluice_log_lines_dropped_total"], r.warnedOf())
		}
	}
}

// come is what one client does that comes and goes. A configuration that proves wrong when some of its addresses are bound
// has not been in force: who has come to one that nobody listened at before is reset in place of refused.
func (r *reloadRig) come(p reloadPlace) error {
	began, wrong := time.Now(), r.wrong.Load()
	c, err := r.connect(p)
	if err == errNobodyThere {
		r.load.absent.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	defer c.Close()
	err = r.ask(c, p)
	if p.goes && isReset(err) && (wrong%2 == 1 || r.wrong.Load() != wrong) {
		r.load.absent.Add(1)
		return nil
	}
	if err != nil {
		return err
	}
	r.load.served.Add(1)
	slowest := &r.load.slowest[0]
	if p.goes {
		slowest = &r.load.slowest[1]
	}
	for took := int64(time.Since(began)); ; {
		was := slowest.Load()
		if took <= was || slowest.CompareAndSwap(was, took) {
			return nil
		}
	}
}

// isRefused reports whether a connect found nobody.
func isRefused(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}

// endedBadly returns the lines of sessions that have not ended because both peers were done.
func (r *reloadRig) endedBadly() (lines []logLine) {
	r.t.Helper()
	for _, line := range r.sessions() {
		if !strings.HasSuffix(line.Reason, "_closed") {
			lines = append(lines, line)
		}
	}
	return lines
}

// warnedOf returns what sluice warns of, without the sessions that go on under old rules.
func (r *reloadRig) warnedOf() (lines []string) {
	r.t.Helper()
	for _, line := range r.warnings() {
		if !strings.Contains(line, `"what":"! `) {
			lines = append(lines, line)
		}
	}
	return lines
}
