package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pires/go-proxyproto"
)

// What a client wants is the first byte that it says. Four more are its number.
const (
	wantsEcho   = 'e'
	wantsPlace  = 'q' // the same, and that it is noted who came when
	wantsBulk   = 'b' // both sides send until the load is over
	wantsAnswer = 'f' // the client finishes, and the server goes on
	wantsToTell = 'l' // the server finishes, and the client goes on
)

// upgradesPeers are the servers, which are of the test.
type upgradesPeers struct {
	t    *testing.T
	bulk *upgradesLoad // until it is over streams go on
	half *upgradesLoad
	tls  *tls.Config // of clients

	mu    sync.Mutex
	flows map[uint32][2]flow // by number: what was sent and what was received
	came  []uint32           // who wants a place
}

// startPeers runs the servers: for TCP, at a Unix socket, with a PROXY header, with TLS, and in a network that is not there yet.
func (r *upgradesRig) startPeers(t *testing.T) {
	t.Helper()
	p := &upgradesPeers{t: t, flows: make(map[uint32][2]flow)}
	p.bulk, p.half, r.peers = newUpgradesLoad(t), newUpgradesLoad(t), p
	local, err := net.Listen("unix", filepath.Join(r.dir, "peers.sock"))
	if err != nil {
		t.Fatal(err)
	}
	serveConns(t, local, p.serve)
	r.values["peers"] = serveConns(t, listenHere(t), p.serve)
	r.values["toldpeers"] = serveConns(t, listenHere(t), p.serveTold)
	r.values["tlspeers"] = serveConns(t, tls.NewListener(listenHere(t), p.certify(t)), p.serve)
	r.far = newNetwork(t)
	r.far.keepAsking()
	r.values["far"] = serveConns(t, r.far.listen(), p.serve)
	r.far.vanish()
}

// certify makes what the servers prove who they are with, and what the clients trust.
func (p *upgradesPeers) certify(t *testing.T) *tls.Config {
	a := newAuthority(t)
	c := a.issue("servers", "a.test", "b.test")
	pair, err := tls.LoadX509KeyPair(c.file, c.key)
	if err != nil {
		t.Fatal(err)
	}
	p.tls = &tls.Config{RootCAs: a.pool, ClientSessionCache: tls.NewLRUClientSessionCache(0)}
	return &tls.Config{Certificates: []tls.Certificate{pair}}
}

// serveTold serves who is named by a PROXY header: the name comes back first.
func (p *upgradesPeers) serveTold(c net.Conn) {
	in := bufio.NewReader(c)
	header, err := proxyproto.Read(in)
	if err != nil {
		p.t.Errorf("the header at a server: %v", err)
		return
	}
	if _, err := fmt.Fprintf(c, toldFormat, header.SourceAddr); err != nil {
		p.t.Errorf("a server: %v", err)
		return
	}
	p.serve(bufferedConn{c.(*net.TCPConn), in})
}

// toldFormat is how a server says of whom it was told.
const toldFormat = "%-32v"

// A bufferedConn has been read from.
type bufferedConn struct {
	*net.TCPConn
	in *bufio.Reader
}

func (c bufferedConn) Read(b []byte) (int, error) { return c.in.Read(b) }

func (p *upgradesPeers) serve(c net.Conn) {
	head := make([]byte, 5)
	if n, err := io.ReadFull(c, head); err != nil {
		if n > 0 || err != io.EOF { // checks say nothing
			p.t.Errorf("what a client wants: %q, %v", head[:n], err)
		}
		return
	}
	id := binary.BigEndian.Uint32(head[1:])
	switch head[0] {
	case wantsPlace:
		p.mu.Lock()
		p.came = append(p.came, id)
		p.mu.Unlock()
		fallthrough
	case wantsEcho:
		if _, err := io.CopyBuffer(onlyWriter{c}, onlyReader{c}, make([]byte, 4<<10)); err != nil {
			p.t.Errorf("session %d at its server: %v", id, err)
		}
	case wantsBulk:
		p.note(id, p.bulk.exchange(c, serverSeed(id), id%2 == 0))
	case wantsAnswer:
		got := receive(c, nil)
		p.note(id, [2]flow{p.half.send(c, serverSeed(id), slowPiece, flowPace), got})
	case wantsToTell:
		sent := flowOf(c, serverSeed(id), farewell)
		p.note(id, [2]flow{sent, receive(c, nil)})
	default:
		p.t.Errorf("a client wants %q", head)
	}
}

func (p *upgradesPeers) note(id uint32, f [2]flow) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.flows[id] = f
}

// noted returns what a server has sent and received, once it is done.
func (p *upgradesPeers) noted(t *testing.T, id uint32) (f [2]flow) {
	t.Helper()
	until(t, fmt.Sprintf("the server of session %d is done", id), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		var ok bool
		if f, ok = p.flows[id]; !ok {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	return f
}

// onlyWriter keeps io.CopyBuffer from a method that would not use the buffer.
type onlyWriter struct{ io.Writer }
