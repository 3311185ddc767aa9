package e2e

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/pires/go-proxyproto"
)

// dialAt connects to a listener of a kind: tcp, unix (the address is a path), told or tls. The number says who the client of told
// claims to be, and for which name that of tls asks.
func (r *upgradesRig) dialAt(kind, address string, id uint32, through func(net.Conn) net.Conn) (net.Conn, error) {
	network := "tcp"
	if kind == "unix" {
		network = "unix"
	}
	c, err := net.DialTimeout(network, address, patient)
	if err != nil {
		return nil, err
	}
	if err := c.SetDeadline(time.Now().Add(upgradesPatience)); err != nil {
		return nil, err
	}
	if tcp, ok := c.(*net.TCPConn); ok { // little is on its way, so that sessions end soon
		if err := errors.Join(tcp.SetReadBuffer(flowPiece), tcp.SetWriteBuffer(flowPiece)); err != nil {
			return nil, err
		}
	}
	if through != nil {
		c = through(c)
	}
	switch kind {
	case "told":
		return c, beTold(c, id)
	case "tls":
		config := r.peers.tls.Clone()
		config.ServerName = []string{"a.test", "b.test"}[id%2]
		return tls.Client(c, config), nil
	}
	return c, nil
}

// upgradesPatience is how long a session may last at most.
const upgradesPatience = 10 * time.Minute

// beTold says in a PROXY header who the client is, and expects that the server knows it.
func beTold(c net.Conn, id uint32) error {
	client := &net.TCPAddr{IP: net.IPv4(10, 1, byte(id>>8), byte(id)), Port: 1024 + int(id)}
	header := proxyproto.HeaderProxyFromAddrs(2, client, &net.TCPAddr{IP: net.IPv4(10, 2, 0, 1), Port: 443})
	text, err := header.Format()
	if err != nil {
		return err
	}
	if _, err := c.Write(text); err != nil {
		return err
	}
	told, want := make([]byte, 32), fmt.Sprintf(toldFormat, client)
	if _, err := io.ReadFull(c, told); err != nil || string(told) != want {
		return fmt.Errorf("the server was told of %q, want %q, %v", told, want, err)
	}
	return nil
}

// begin says what a client wants.
func begin(c net.Conn, wants byte, id uint32) error {
	_, err := c.Write(binary.BigEndian.AppendUint32([]byte{wants}, id))
	return err
}

// open opens a session that lasts, and says what it wants.
func (r *upgradesRig) open(kind, address string, wants byte, id uint32) net.Conn {
	r.t.Helper()
	c, err := r.dialAt(kind, address, id, nil)
	if err == nil {
		r.t.Cleanup(func() { c.Close() })
		err = begin(c, wants, id)
	}
	if err != nil {
		r.t.Fatalf("a client of %s: %v", kind, err)
	}
	return c
}

// A dialogue is a session whose server sends back what it gets.
type dialogue struct {
	net.Conn
	kind string
	id   uint32
	next uint64 // number of the next message
}

// talkNoise is what messages are cut from.
var talkNoise = func() []byte {
	data := make([]byte, 64<<10)
	_, _ = newNoise(0).Read(data)
	return data
}()

// message returns a message of a session, which no other one has, nor this one at another time.
func (s *dialogue) message(number uint64) []byte {
	data := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, s.id), number)
	of := int(uint64(s.id)*7919+number*104_729) % (len(talkNoise) / 2)
	size := 20 + int(uint64(s.id)*31+number*17)%1400
	if (number+uint64(s.id))%32 == 0 {
		size = 16 << 10
	}
	return append(data, talkNoise[of:of+size]...)
}

// say sends the next message.
func (s *dialogue) say() error {
	_, err := s.Write(s.message(s.next))
	return err
}

// hear expects it back.
func (s *dialogue) hear() error {
	want := s.message(s.next)
	got := make([]byte, len(want))
	if n, err := io.ReadFull(s, got); err != nil || !bytes.Equal(got, want) {
		return fmt.Errorf("session %d of %s, message %d of %d bytes: %d came back, they are the same: %t, %v", s.id, s.kind, s.next,
			len(want), n, bytes.Equal(got, want), err)
	}
	s.next++
	return nil
}

func (s *dialogue) sayAndHear() error {
	if err := s.say(); err != nil {
		return fmt.Errorf("session %d of %s: %w", s.id, s.kind, err)
	}
	return s.hear()
}

// leave finishes, and expects that nothing comes but the end.
func (s *dialogue) leave() error {
	defer s.Close()
	if err := finish(s.Conn); err != nil {
		return err
	}
	if rest, err := io.ReadAll(s.Conn); err != nil || len(rest) > 0 {
		return fmt.Errorf("session %d of %s: after the end %d bytes come, %v", s.id, s.kind, len(rest), err)
	}
	return nil
}

// openTalks opens the sessions that talk all the time.
func (r *upgradesRig) openTalks() (all []*dialogue) {
	r.t.Helper()
	for _, k := range []struct {
		kind, address string
		count         int
	}{
		{"tcp", r.values["tcp"], r.plan.tcp},
		{"unix", filepath.Join(r.dir, "unix.sock"), r.plan.unix},
		{"told", r.values["told"], r.plan.told},
		{"tls", r.values["tls"], r.plan.tls},
	} {
		var last atomic.Uint32
		for _, c := range dialMany(r.t, k.count, func() (net.Conn, error) { return r.beginTalk(k.kind, k.address, last.Add(1), nil) }) {
			all = append(all, c.(*dialogue))
		}
	}
	return all
}

func (r *upgradesRig) beginTalk(kind, address string, id uint32, through func(net.Conn) net.Conn) (*dialogue, error) {
	c, err := r.dialAt(kind, address, id, through)
	if err != nil {
		return nil, err
	}
	s := &dialogue{Conn: c, kind: kind, id: id}
	return s, errors.Join(begin(c, wantsEcho, id), s.sayAndHear())
}

// talkGroups is how many goroutines let the sessions talk.
const talkGroups = 40

// startTalking lets sessions talk until the load is over. It returns where the messages are counted.
func (l *upgradesLoad) startTalking(all []*dialogue) *atomic.Int64 {
	said := new(atomic.Int64)
	for first := range talkGroups {
		l.all.Go(func() {
			var mine []*dialogue
			for i := first; i < len(all); i += talkGroups {
				mine = append(mine, all[i])
			}
			for l.rest(time.Second) {
				for _, s := range mine {
					if err := s.say(); err != nil {
						l.t.Errorf("session %d of %s: %v", s.id, s.kind, err)
						return
					}
				}
				for _, s := range mine {
					if err := s.hear(); err != nil {
						l.t.Error(err)
						return
					}
				}
				said.Add(int64(len(mine)))
			}
		})
	}
	return said
}
