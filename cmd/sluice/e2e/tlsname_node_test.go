package e2e

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// unpackedNginx is the one that make deps fetches when the installed one is too old.
const unpackedNginx = "../../../.deps/usr/sbin/nginx"

// tlvNginx returns an nginx that has what the TLVs of a PROXY header say as variables: 1.23.2 or later.
func tlvNginx(t *testing.T) string {
	t.Helper()
	installed := program(t, "nginx")
	for _, path := range []string{installed, unpackedNginx} {
		out, _ := exec.Command(path, "-v").CombinedOutput() // not there: not new enough
		var major, minor, patch int
		fmt.Sscanf(string(out), "nginx version: nginx/%d.%d.%d", &major, &minor, &patch)
		if major > 1 || minor > 23 || minor == 23 && patch >= 2 {
			return path
		}
	}
	t.Fatalf("this test needs nginx 1.23.2 or later, and %s is older: make deps", installed)
	return ""
}

// A namedNode is an nginx that ends TLS for names of its own. It tells its clients how they have reached it, and logs
// what the TLVs of the PROXY header say.
type namedNode struct{ *node }

// namedConfig runs as one process. In the access log, bytes that are no plain text are written as \xHH.
const namedConfig = `
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 512; }
http {
	log_format told '$proxy_protocol_addr\t$proxy_protocol_port\t$host\t$proxy_protocol_tlv_authority\t'
		'$proxy_protocol_tlv_alpn\t$proxy_protocol_tlv_unique_id';
	access_log access.log told;
	client_body_temp_path temp; proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
	server {
		listen 127.0.0.1:%d ssl %s;
		%s
		set $told '%s $host $server_protocol $proxy_protocol_addr:$proxy_protocol_port';
		location / { default_type text/plain; return 200 'I am $told\n'; }
		location = /script { default_type application/javascript; return 200 'document.write("I am $told<br>")'; }
		location /files/ { alias files/; }
	}
}
`

// startNamedNode runs a node. Options are those of its listening side, and the directives name a certificate.
func startNamedNode(t *testing.T, name, options, directives string) *namedNode {
	t.Helper()
	n := &namedNode{node: &node{name: name, dir: tempDir(t), port: systest.ReservePort(t)}}
	if err := os.Mkdir(filepath.Join(n.dir, "files"), 0o755); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(n.dir, "nginx.conf"),
		fmt.Sprintf(namedConfig, n.port, options, directives, name))
	cmd := exec.Command(tlvNginx(t), "-p", n.dir+"/", "-c", "nginx.conf", "-e", "error.log")
	n.process = start(t, name, n.dir, cmd)
	n.untilListening(n.port)
	return n
}

// told is what a node was told of a connection by the PROXY header, and the host that one request on it named.
type told struct {
	node      string
	client    netip.AddrPort
	host      string
	authority string
	alpn      string
	uniqueID  string
}

// told returns what the node has logged, a line for each request.
func (n *namedNode) told() (all []told) {
	n.t.Helper()
	for _, line := range readLines(n.t, filepath.Join(n.dir, "access.log")) {
		f := strings.Split(line, "\t")
		if len(f) != 6 {
			n.t.Fatalf("%s logged %q", n.name, line)
		}
		all = append(all, told{node: n.name, client: client(n.t, f[0], f[1]), host: f[2],
			authority: n.unescape(f[3]), alpn: n.unescape(f[4]), uniqueID: n.unescape(f[5])})
	}
	return all
}

// unescape undoes how nginx writes a variable to its log; "-" is one that is not there.
func (n *namedNode) unescape(text string) string {
	n.t.Helper()
	if text == "-" {
		return ""
	}
	raw, err := strconv.Unquote(`"` + text + `"`)
	if err != nil {
		n.t.Fatalf("%s logged %q: %v", n.name, text, err)
	}
	return raw
}
