package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
)

// namesConfig has a listener with a pool for all that no route takes, one with a route for every name, and one that
// knows a single name.
const namesConfig = `
listeners:
  web:
    bind: "127.0.0.1:0"
    protocol: tls
    routes:
      - {sni: [shop.example.com, "*.shop.example.com"], pool: shop}
      - {sni: [api.example.com], alpn: [h2], pool: api2}
      - {sni: [api.example.com], pool: api1}
    pool: rest
  any:
    bind: "127.0.0.1:0"
    protocol: tls
    routes:
      - {sni: [shop.example.com], pool: shop}
      - {sni: ["*"], pool: any}
  strict:
    bind: "127.0.0.1:0"
    protocol: tls
    routes:
      - {sni: [shop.example.com], pool: shop}
pools:
`

const namedPool = `
  %[1]s:
    send_proxy: v2
    tlvs: [authority, alpn, unique_id, crc32c]
    check: {interval: 500ms, timeout: 30s}
    backends: [{name: %[1]s, address: "127.0.0.1:%[2]d"}]
`

// tlsNames is a sluice in front of nodes, each in a pool of its name.
type tlsNames struct {
	*rig
	*authority
	t         *testing.T
	nodes     map[string]*namedNode
	addresses map[string]string // of listeners
	mu        sync.Mutex
	asked     []asked // what nodes have answered
}

func startNames(t *testing.T) *tlsNames {
	t.Helper()
	s := &tlsNames{t: t, authority: newAuthority(t)}
	s.nodes, s.addresses = make(map[string]*namedNode), make(map[string]string)
	config := namesConfig
	node := func(name, options string, names ...string) {
		t.Helper()
		n := startNamedNode(t, name, "proxy_protocol "+options, s.issue(name, names...).nginx())
		s.nodes[name] = n
		config += fmt.Sprintf(namedPool, name, n.port)
	}
	node("shop", "http2", "shop.example.com", "*.shop.example.com")
	node("api2", "http2", "api.example.com")
	node("api1", "", "api.example.com")
	node("rest", "", "www.example.org", "de.old.shop.example.com", "127.0.0.1")
	node("any", "http2", "www.example.net")
	s.rig = startSluice(t, config)
	for name := range s.nodes {
		s.untilUsable(name, true)
	}
	for _, l := range s.status().Listeners {
		s.addresses[l.Name] = l.Addresses[0]
	}
	return s
}

// A call is a TLS connection with one request, of a client that must reach the right node.
type call struct {
	listener string
	name     string // an address: the client names no server
	alpn     string // what the client offers, separated by commas; "" = nothing
	node     string // which must answer
	protocol string // that client and node agree on: "h2", "http/1.1", or "" when the client offers none
}

// calls are all ways to reach a node.
var calls = []call{
	{"web", "shop.example.com", "h2,http/1.1", "shop", "h2"},
	{"web", "shop.example.com", "http/1.1", "shop", "http/1.1"},
	{"web", "de.shop.example.com", "h2,http/1.1", "shop", "h2"},
	{"web", "de.shop.example.com", "", "shop", ""},
	{"web", "de.old.shop.example.com", "h2,http/1.1", "rest", "http/1.1"}, // *. is one label
	{"web", "api.example.com", "h2,http/1.1", "api2", "h2"},
	{"web", "api.example.com", "http/1.1", "api1", "http/1.1"},
	{"web", "api.example.com", "", "api1", ""},
	{"web", "www.example.org", "http/1.1", "rest", "http/1.1"},
	{"web", "127.0.0.1", "h2,http/1.1", "rest", "http/1.1"},
	{"any", "shop.example.com", "h2,http/1.1", "shop", "h2"},
	{"any", "www.example.net", "h2,http/1.1", "any", "h2"},
	{"any", "www.example.net", "", "any", ""},
	{"strict", "shop.example.com", "http/1.1", "shop", "http/1.1"},
}

// serverName is what the client's hello has.
func (c call) serverName() string {
	if net.ParseIP(c.name) != nil {
		return ""
	}
	return c.name
}

// httpVersion is what the request line says.
func (c call) httpVersion() string {
	if c.protocol == "h2" {
		return "HTTP/2.0"
	}
	return "HTTP/1.1"
}

// An asked is what a node is told of a request.
type asked struct{ node, host, authority, alpn string }

// asked is the request that a client makes. Its protocol of choice is the first one that it offers.
func (c call) asked() asked {
	alpn, _, _ := strings.Cut(c.alpn, ",")
	return asked{c.node, c.name, c.serverName(), alpn}
}

// expectAnswer checks what a node says, in the line that begins with "I am". A client that is not known is "".
func (s *tlsNames) expectAnswer(t *testing.T, c call, answer, client string) {
	t.Helper()
	_, text, _ := strings.Cut(answer, "I am ")
	text, _, _ = strings.Cut(text, "\n")
	want := strings.TrimSpace(fmt.Sprintf("%s %s %s %s", c.node, c.name, c.httpVersion(), client))
	if text != want && (client != "" || !strings.HasPrefix(text, want+" 127.0.0.1:")) {
		t.Errorf("%+v: the answer is %q, want %q", c, text, want)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, c.asked())
}

// Clients reach the right node by name and ALPN, and the node is told of all that sluice has read.
func TestServerNames(t *testing.T) {
	t.Parallel()
	s := startNames(t)
	clients := map[string]func(*testing.T, *tlsNames, call){"curl": callCurl, "openssl": callOpenSSL, "Go": callGo}
	t.Run("clients", func(t *testing.T) {
		for name, use := range clients {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				for _, c := range calls {
					use(t, s, c)
				}
			})
		}
	})
	if n := s.status().accepts(); n != uint64(len(clients)*len(calls)) {
		t.Errorf("%d sessions were accepted for %d calls of each of %d clients", n, len(calls), len(clients))
	}
	s.expectTold()
}

// expectTold checks that the nodes were told what clients have asked, and that sluice's log tells the same of those
// sessions: which client, by which name, under which ID. The nodes' names are those of the pools.
func (s *tlsNames) expectTold() {
	s.t.Helper()
	byID := make(map[string]told)
	untilSame(s.t, "the nodes are told what clients ask", s.asked, func() (all []asked) {
		for _, n := range s.nodes {
			for _, got := range n.told() {
				all = append(all, asked{got.node, got.host, got.authority, got.alpn})
				byID[got.uniqueID] = got
			}
		}
		return all
	})
	s.checkCounters() // waits until all sessions are logged
	for _, line := range s.sessions() {
		want, ok := byID[line.UniqueID]
		if !ok {
			continue // nothing was asked
		}
		delete(byID, line.UniqueID)
		if line.Pool != want.node || line.Client != want.client.String() || line.ServerName != want.authority {
			s.t.Errorf("a node was told of %+v, and sluice logs %+v", want, line)
		}
	}
	if len(byID) > 0 {
		s.t.Errorf("sluice's log has no session with what nodes were told: %+v", byID)
	}
	for _, n := range s.nodes {
		n.expectNoAlerts()
	}
}
