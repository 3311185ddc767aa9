package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// askEvery is how often a server is asked for its health.
const askEvery = 40 * time.Millisecond

// playServers are servers at addresses of their own, which say their number, send back what they receive, and hang up at
// "bye". At another port, the same of all, they say whether they are well, to each play something else.
type playServers struct {
	addresses []string
	port      int // where they are asked for their health
	mu        sync.Mutex
	asked     map[question]int
	ill       map[illness]bool
}

type illness struct {
	seed   uint64
	server int
}

// A question is what a server is asked for its health.
type question struct {
	server int
	path   string
}

func startPlayServers(t *testing.T, count int) *playServers {
	s := &playServers{asked: make(map[question]int), ill: make(map[illness]bool)}
	var health []net.Listener
	for len(health) == 0 { // until a port is free at all addresses
		health = s.listenAll(t, count)
	}
	for i, l := range health {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.tell(i, w, r) })}
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
		talk, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:0", i+1))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = talk.Close() })
		s.addresses = append(s.addresses, talk.Addr().String())
		go accept(talk, func(c net.Conn) { converse(c, i) })
	}
	return s
}

// listenAll listens at one port of all addresses, or returns nil when it is taken at one of them.
func (s *playServers) listenAll(t *testing.T, count int) (all []net.Listener) {
	s.port = 0
	for i := range count {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.1.%d:%d", i+1, s.port))
		if err != nil && s.port != 0 {
			for _, l := range all {
				_ = l.Close()
			}
			return nil
		}
		if err != nil {
			t.Fatal(err)
		}
		s.port = l.Addr().(*net.TCPAddr).Port
		all = append(all, l)
	}
	return all
}

func accept(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return // closed
		}
		go serve(c)
	}
}

func converse(c net.Conn, number int) {
	defer c.Close()
	_, _ = fmt.Fprintln(c, number)
	for lines := bufio.NewScanner(c); lines.Scan() && lines.Text() != "bye"; {
		_, _ = fmt.Fprintln(c, lines.Text())
	}
}

// tell answers a question for the health of a server; its path is /SEED/WAY.
func (s *playServers) tell(server int, w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked[question{server, r.URL.Path}]++
	var seed uint64
	_, _ = fmt.Sscanf(r.URL.Path, "/%d/", &seed)
	if s.ill[illness{seed, server}] {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
}

func (s *playServers) toggle(seed uint64, server int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	one := illness{seed, server}
	s.ill[one] = !s.ill[one]
}

func (s *playServers) isIll(seed uint64, server int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ill[illness{seed, server}]
}

// askedOf returns how often each question of one play was asked.
func (s *playServers) askedOf(seed uint64) map[question]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, prefix := make(map[question]int), fmt.Sprintf("/%d/", seed)
	for q, n := range s.asked {
		if strings.HasPrefix(q.path, prefix) {
			all[q] = n
		}
	}
	return all
}
