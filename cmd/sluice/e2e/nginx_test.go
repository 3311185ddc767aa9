package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// A node is an nginx that answers every request with its name and what the PROXY header said: the client, and where the
// client connected to. It serves the files of a directory under /files/.
type node struct {
	*process
	name string
	dir  string
	port int
}

// nginxConfig runs as one process, so that killing it kills all of it. An access log line has the client that the PROXY
// header named, and the one that the HTTP header X-Client named.
const nginxConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 512; }
http {
	log_format client '$proxy_protocol_addr $proxy_protocol_port $http_x_client';
	access_log access.log client;
	client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
	server {
		listen 127.0.0.1:%d %s;
		%s
		location / {
			default_type text/plain;
			return 200 '%s $proxy_protocol_addr $proxy_protocol_port $proxy_protocol_server_addr $proxy_protocol_server_port\n';
		}
		location /files/ { alias files/; }
	}
}
`

// newNginx prepares a node that will listen with the given options ("ssl", "proxy_protocol"), and further directives.
func newNginx(t *testing.T, name, options string, directives ...string) *node {
	t.Helper()
	n := &node{name: name, dir: tempDir(t), port: systest.ReservePort(t)}
	if err := os.Mkdir(filepath.Join(n.dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(n.dir, "nginx.conf"),
		fmt.Sprintf(nginxConfig, n.port, options, strings.Join(directives, "\n\t\t"), name))
	return n
}

func startNginx(t *testing.T, name, options string, directives ...string) *node {
	t.Helper()
	n := newNginx(t, name, options, directives...)
	n.start(t)
	return n
}

// start runs the node, also again after its end.
func (n *node) start(t *testing.T) {
	t.Helper()
	cmd := exec.Command(program(t, "nginx"), "-p", n.dir+"/", "-c", "nginx.conf", "-e", "error.log")
	n.process = start(t, n.name, n.dir, cmd)
	n.untilListening(n.port)
}

// logged returns the clients that the PROXY headers named, one for each request.
func (n *node) logged() (clients []netip.AddrPort) {
	n.t.Helper()
	for _, line := range readLines(n.t, filepath.Join(n.dir, "access.log")) {
		fields := strings.Fields(line)
		clients = append(clients, client(n.t, fields[0], fields[1]))
	}
	return clients
}

// loggedHeaders returns what the X-Client headers of all requests said.
func (n *node) loggedHeaders() (clients []string) {
	n.t.Helper()
	for _, line := range readLines(n.t, filepath.Join(n.dir, "access.log")) {
		_, header, _ := cutLast(line, " ")
		clients = append(clients, header)
	}
	return clients
}

func client(t *testing.T, address, port string) netip.AddrPort {
	t.Helper()
	client, err := netip.ParseAddrPort(net.JoinHostPort(address, port))
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// expectLogged waits until the nodes together have logged exactly these clients, each as often as it is there.
func expectLogged(t *testing.T, nodes []*node, want []netip.AddrPort) {
	t.Helper()
	untilSame(t, "the access logs name every client", want, func() (got []netip.AddrPort) {
		for _, n := range nodes {
			got = append(got, n.logged()...)
		}
		return got
	})
}

// expectNoAlerts checks that a node had nothing to complain of.
func (n *node) expectNoAlerts() {
	n.t.Helper()
	for _, line := range readLines(n.t, filepath.Join(n.dir, "error.log")) {
		if strings.Contains(line, "[error]") || strings.Contains(line, "[alert]") {
			n.t.Errorf("%s complains: %s", n.name, line)
		}
	}
}
