package e2e

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// chainConfig is one backend that is told of clients of which sluice itself may have been told.
const chainConfig = `
listeners:
  in:
    bind: "127.0.0.1:0"
    pool: out
    %s
pools:
  out:
    send_proxy: %s
    check: {interval: 500ms, timeout: 30s}
    backends: [{name: out, address: "127.0.0.1:%d"}]
`

// fromHere makes a header required, which peers on this machine may send.
const fromHere = "accept_proxy: {from: [127.0.0.0/8], timeout: 30s}"

// HAProxy tells sluice who the client is, in every form that it has, and sluice tells nginx.
func TestHAProxyInFront(t *testing.T) {
	f := func(name, options, send string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNginx(t, "nginx", "proxy_protocol")
			r := startSluice(t, fmt.Sprintf(chainConfig, fromHere, send, n.port))
			front := startFront(t, r.address("in"), "", options)
			clients := clientsOf(crowd(t, 40, front, "127.0.0.5", "127.0.0.6"))
			clients = append(clients, curl(t, "127.0.0.7", "http://"+front+"/"))
			expectLogged(t, []*node{n}, clients)
			n.expectNoAlerts()
			r.expectSessionClients(clients)
		})
	}
	f("v1 to v1", "send-proxy", "v1")
	f("v1 to v2", "send-proxy", "v2")
	f("v2 to v1", "send-proxy-v2", "v1")
	f("v2 to v2", "send-proxy-v2", "v2")
	f("v2 with checksum", "send-proxy-v2 proxy-v2-options crc32c", "v2")
	f("v2 with TLVs", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl", "v2")
	f("v2 with TLVs to v1", "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl", "v1")
}

// expectSessionClients waits until the log has a session for each of these clients, and no other.
func (r *rig) expectSessionClients(want []netip.AddrPort) {
	r.t.Helper()
	r.expectClean(uint64(len(want)))
	untilSame(r.t, "sessions are logged with their clients", texts(want), func() (got []string) {
		for _, s := range r.sessions() {
			got = append(got, s.Client)
		}
		return got
	})
}

func texts(clients []netip.AddrPort) (texts []string) {
	for _, c := range clients {
		texts = append(texts, c.String())
	}
	return texts
}

// HAProxy checks a backend with the command LOCAL, which names no client: then its own address counts, and the check is
// answered.
func TestHAProxyChecksThrough(t *testing.T) {
	t.Parallel()
	n := startNginx(t, "nginx", "proxy_protocol")
	r := startSluice(t, fmt.Sprintf(chainConfig, fromHere, "v2", n.port))
	front := startFront(t, r.address("in"), "",
		"send-proxy-v2 check check-send-proxy inter 50ms\n\toption httpchk GET /\n\thttp-check expect string nginx")
	checks := func(client netip.AddrPort) bool { return client.Addr() == netip.MustParseAddr("127.0.0.1") }
	until(t, "HAProxy's checks pass through", func() error {
		if clients := n.logged(); len(clients) < 10 || !checks(clients[0]) {
			return fmt.Errorf("the node was told of %v", clients)
		}
		return nil
	})
	want := clientsOf(crowd(t, 20, front, "127.0.0.5")) // fails when HAProxy holds sluice to be down
	untilSame(t, "the node logs the clients", want, func() []netip.AddrPort {
		return slices.DeleteFunc(n.logged(), checks)
	})
}

// HAProxy reads the headers that sluice sends.
func TestHAProxyBehind(t *testing.T) {
	for _, version := range []string{"v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			port := systest.ReservePort(t)
			behind := startBehind(t, port, nil)
			r := startSluice(t, fmt.Sprintf(chainConfig, "", version, port))
			var clients []netip.AddrPort
			for i := range 10 {
				address, told := curlTold(t, fmt.Sprintf("127.0.2.%d", i+1), "http://"+r.address("in")+"/")
				if told != address.String()+"//" {
					t.Errorf("HAProxy was told of %q, the client is %v", told, address)
				}
				clients = append(clients, address)
			}
			behind.expectHTTPLog(clients)
			r.expectSessionClients(clients)
		})
	}
}

// curlTold makes a request like curl, and returns the first line of the answer too.
func curlTold(t *testing.T, source string, args ...string) (socket netip.AddrPort, told string) {
	t.Helper()
	out := output(t, command(t, program(t, "curl"), append([]string{"--silent", "--show-error", "--fail",
		"--interface", source, "--write-out", "\n%{local_ip} %{local_port}"}, args...)...))
	told, used, _ := strings.Cut(out, "\n")
	fields := strings.Fields(used)
	if len(fields) != 2 {
		t.Fatalf("curl printed %q", out)
	}
	return client(t, fields[0], fields[1]), told
}

// expectHTTPLog waits until HAProxy has logged a request of each client, which comes first in its lines, and no other.
func (p *process) expectHTTPLog(want []netip.AddrPort) {
	p.t.Helper()
	untilSame(p.t, p.name+" logs the clients", texts(want), func() (got []string) {
		for _, line := range readLines(p.t, p.log) {
			if strings.Contains(line, `"GET / HTTP/1.1"`) {
				got = append(got, strings.Fields(line)[0])
			}
		}
		return got
	})
}

// client -> HAProxy, which ends TLS -> sluice -> HAProxy -> nginx: the client's address, the name that it asked for and
// the unique ID of the first hop come to the last one.
func TestProxyChain(t *testing.T) {
	t.Parallel()
	c := newCertificate(t, "shop.example.com")
	last := startNginx(t, "nginx", "")
	port := systest.ReservePort(t)
	behind := startBehind(t, port, last)
	r := startSluice(t, fmt.Sprintf(chainConfig, fromHere, "v2", port))
	front := startFront(t, r.address("in"), "ssl crt "+c.bundle(t),
		"send-proxy-v2 proxy-v2-options crc32c,unique-id,authority,ssl,cert-cn,ssl-cipher")
	var clients []netip.AddrPort
	var headers []string
	for i := range 10 {
		address, _ := curlTold(t, fmt.Sprintf("127.0.3.%d", i+1), secureCurl(c, front, "/")...)
		clients = append(clients, address)
		headers = append(headers, fmt.Sprintf("%v/%s/id-%v-%d", address, c.host, address.Addr(), address.Port()))
	}
	behind.expectHTTPLog(clients)
	r.expectSessionClients(clients)
	if got := last.loggedHeaders(); !slices.Equal(got, headers) {
		t.Errorf("nginx was told %q, want %q", got, headers)
	}
}

// A header from a peer that may not send one is refused, and so is a peer that sends none.
func TestHeaderRefused(t *testing.T) {
	f := func(name, accept, sends, reason string) {
		t.Helper()
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := startNginx(t, "nginx", "proxy_protocol")
			r := startSluice(t, fmt.Sprintf(chainConfig, accept, "v2", n.port))
			if err := dialReset(r.address("in"), sends); err != nil {
				t.Error(err)
			}
			r.expectEnds(map[string]uint64{reason: 1})
			until(t, "the log says what is wrong with the header", func() error {
				s := r.sessions()
				if len(s) != 1 || strings.Contains(s[0].Error, "byte ") != (reason == "header_invalid") {
					return fmt.Errorf("it has %+v", s)
				}
				return nil
			})
			if c := r.status().backend(t, "out").Connects; c != 0 || len(n.logged()) != 0 {
				t.Errorf("%d connects were made for a peer that is refused", c)
			}
		})
	}
	const request = "GET / HTTP/1.0\r\n\r\n"
	f("untrusted", "accept_proxy: {from: [10.0.0.0/8]}", "PROXY TCP4 1.2.3.4 5.6.7.8 9 10\r\n"+request, "header_untrusted")
	f("none", fromHere, request, "header_invalid")
	f("broken", fromHere, "PROXY TCP4 1.2.3.4 5.6.7.8 9\r\n"+request, "header_invalid")
	f("late", "accept_proxy: {from: [127.0.0.0/8], timeout: 100ms}", "PROXY TCP4 1.2.3.4", "header_timeout")
}
