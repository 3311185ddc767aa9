package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// webConfig is a pool of three nodes, checked often.
const webConfig = `
listeners:
  web: {bind: ["127.0.0.1:0", "[::1]:0"], pool: web}
pools:
  web:
    balance: %s
    send_proxy: %s
    check: {interval: 200ms, timeout: 30s, fall: 10, rise: 1}
    eject: {duration: 1s}
    backends:
      - {name: n1, address: "127.0.0.1:%d"}
      - {name: n2, address: "127.0.0.1:%d"}
      - {name: n3, address: "127.0.0.1:%d"}
`

// startWeb runs three nodes that require a PROXY header, and a sluice in front of them.
func startWeb(t *testing.T, balance, version string) (*rig, []*node) {
	t.Helper()
	var nodes []*node
	for _, name := range []string{"n1", "n2", "n3"} {
		nodes = append(nodes, startNginx(t, name, "proxy_protocol"))
	}
	return startSluice(t, fmt.Sprintf(webConfig, balance, version, nodes[0].port, nodes[1].port, nodes[2].port)), nodes
}

// A visit is one HTTP request on a connection of its own.
type visit struct {
	client netip.AddrPort // the client's socket
	node   string         // which answered
}

// get makes a request from a source address. The node that answers must have been told of this connection: of both its
// ends as they are here.
func get(ctx context.Context, source, address string) (v visit, err error) {
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	transport := &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dialer.DialContext(ctx, network, address)
			if err == nil {
				v.client = c.LocalAddr().(*net.TCPAddr).AddrPort()
			}
			return c, err
		},
	}
	ctx, cancel := context.WithTimeout(ctx, patient)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return v, err
	}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return v, fmt.Errorf("get from %v: %w", v.client, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		return v, fmt.Errorf("get from %v: %w", v.client, err)
	}
	fields := strings.Fields(string(body))
	if answer.StatusCode != http.StatusOK || len(fields) == 0 {
		return v, fmt.Errorf("get from %v: %s, %q", v.client, answer.Status, body)
	}
	v.node = fields[0]
	to := netip.MustParseAddrPort(address)
	if want := []string{v.node, v.client.Addr().String(), strconv.Itoa(int(v.client.Port())), to.Addr().String(),
		strconv.Itoa(int(to.Port()))}; !slices.Equal(fields, want) {
		return v, fmt.Errorf("the node was told %q, want %q", fields, want)
	}
	return v, nil
}

// crowd makes n requests, eight at a time, from source addresses in turn. All must succeed.
func crowd(t *testing.T, n int, address string, sources ...string) []visit {
	t.Helper()
	visits, errs := make([]visit, n), make([]error, n)
	var clients sync.WaitGroup
	turn := make(chan int)
	for range 8 {
		clients.Go(func() {
			for i := range turn {
				visits[i], errs[i] = get(t.Context(), sources[i%len(sources)], address)
			}
		})
	}
	for i := range n {
		turn <- i
	}
	close(turn)
	clients.Wait()
	for _, err := range errs {
		if err != nil {
			t.Error(err)
		}
	}
	if t.Failed() {
		t.FailNow()
	}
	return visits
}

func clientsOf(visits []visit) (clients []netip.AddrPort) {
	for _, v := range visits {
		clients = append(clients, v.client)
	}
	return clients
}

// byNode counts the visits of each node.
func byNode(visits []visit) map[string]int {
	count := make(map[string]int)
	for _, v := range visits {
		count[v.node]++
	}
	return count
}

// curl makes a request with curl from a source address and returns the socket that curl says it used.
func curl(t *testing.T, source, url string) netip.AddrPort {
	t.Helper()
	out := output(t, command(t, program(t, "curl"), "--silent", "--show-error", "--fail", "--interface", source,
		"--output", "/dev/null", "--write-out", "%{local_ip} %{local_port}", url))
	fields := strings.Fields(out)
	if len(fields) != 2 {
		t.Fatalf("curl printed %q", out)
	}
	return client(t, fields[0], fields[1])
}

// Three nginx nodes log the true clients, and share the requests.
func TestClientAddress(t *testing.T) {
	f := func(version, balance string, least int) {
		t.Helper()
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r, nodes := startWeb(t, balance, version)
			addresses := r.addresses("web")
			visits := crowd(t, 240, addresses[0], "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.9.9.9")
			visits = append(visits, crowd(t, 60, addresses[1], "::1")...)
			clients := clientsOf(visits)
			for i := range 12 {
				clients = append(clients, curl(t, fmt.Sprintf("127.0.1.%d", i+1), "http://"+addresses[0]+"/"))
			}
			expectLogged(t, nodes, clients)
			for _, n := range nodes {
				if got := len(n.logged()); got < least {
					t.Errorf("%s had %d of %d requests, want at least %d", n.name, got, len(clients), least)
				}
				n.expectNoAlerts()
			}
			if n := r.status().accepts(); n != uint64(len(clients)) {
				t.Errorf("%d sessions were accepted, want %d", n, len(clients))
			}
		})
	}
	f("v1", "round_robin", 104)
	f("v2", "least_conn", 1) // who answers sooner is asked more often
}

// A node that dies takes no request with it that comes after, and gets its share again when it is back.
func TestNodeDies(t *testing.T) {
	t.Parallel()
	r, nodes := startWeb(t, "round_robin", "v2")
	address := r.address("web")
	visits := crowd(t, 60, address, "127.0.0.1")
	nodes[1].kill()
	visits = append(visits, crowd(t, 60, address, "127.0.0.1")...)
	if n := r.status().backend(t, "n2").ConnectFailures["refused"]; n == 0 {
		t.Error("no connect to the dead node was refused, so no session had to try another node")
	}
	r.untilUsable("n2", false)
	visits = append(visits, crowd(t, 60, address, "127.0.0.1")...)
	nodes[1].start(t)
	r.untilUsable("n2", true)
	last := crowd(t, 60, address, "127.0.0.1")
	if shares := byNode(last); shares["n1"] != 20 || shares["n2"] != 20 || shares["n3"] != 20 {
		t.Errorf("when the node is back, the shares of 60 requests are %v", shares)
		for _, line := range r.logLines() {
			if line.Msg != "session" {
				t.Logf("%+v", line)
			}
		}
	}
	visits = append(visits, last...)
	expectLogged(t, nodes, clientsOf(visits))
	r.expectClean(uint64(len(visits)))
	r.untilRetries()
}

// untilRetries waits until the sessions that are logged have together tried another backend as often as a connect failed.
func (r *rig) untilRetries() {
	r.t.Helper()
	until(r.t, "each failed connect is a retry of a session that is logged", func() error {
		var retries, failures uint64
		for _, line := range r.sessions() {
			retries += line.Retries
		}
		for _, p := range r.status().Pools {
			for _, b := range p.Backends {
				for _, n := range b.ConnectFailures {
					failures += n
				}
			}
		}
		if retries != failures || retries == 0 {
			return fmt.Errorf("%d retries, %d failures", retries, failures)
		}
		return nil
	})
}
