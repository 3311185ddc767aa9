package e2e

import (
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// nginxStreamConfig is nginx in front of sluice: it passes on what a PROXY header has said of the client, in version 1.
const nginxStreamConfig = `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log info;
events { worker_connections 64; }
stream {
	server {
		listen 127.0.0.1:%[1]d proxy_protocol;
		listen [::1]:%[1]d proxy_protocol;
		listen unix:%[2]s/front proxy_protocol;
		set_real_ip_from 127.0.0.1;
		set_real_ip_from ::1;
		set_real_ip_from unix:;
		proxy_protocol on;
		proxy_pass %[3]s;
	}
}
`

// nginx tells of a client and names its own socket beside it, of whatever family that is. The client is the one that it
// was told of.
func TestNginxInFront(t *testing.T) {
	t.Parallel()
	behind := startNginx(t, "nginx", "proxy_protocol")
	r := startSluice(t, fmt.Sprintf(chainConfig, fromHere, "v2", behind.port))
	dir, port := tempDir(t), systest.ReservePort(t)
	writeFile(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxStreamConfig, port, dir, r.address("in")))
	front := start(t, "front", dir, exec.Command(program(t, "nginx"), "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log"))
	front.untilListening(port)
	var want []string
	told := 40000
	for _, at := range []struct{ network, address string }{
		{"tcp", fmt.Sprintf("127.0.0.1:%d", port)}, {"tcp", fmt.Sprintf("[::1]:%d", port)}, {"unix", filepath.Join(dir, "front")},
	} {
		for _, header := range []struct{ line, client string }{
			{"PROXY TCP4 203.0.113.7 198.51.100.1 %d 443\r\n", "203.0.113.7:%d"},
			{"PROXY TCP6 2001:db8::7 2001:db8::1 %d 443\r\n", "[2001:db8::7]:%d"},
		} {
			told++
			want = append(want, fmt.Sprintf(header.client, told))
			askBy(t, at.network, at.address, fmt.Sprintf(header.line, told))
		}
	}
	r.expectClean(uint64(len(want)))
	untilSame(t, "sluice logs the clients", want, func() (got []string) {
		for _, s := range r.sessions() {
			got = append(got, s.Client)
		}
		return got
	})
	var clients []string
	for _, c := range behind.logged() {
		clients = append(clients, fmt.Sprint(c.Addr().Unmap(), " ", c.Port()))
	}
	for i, s := range want {
		address, port, _ := net.SplitHostPort(s)
		want[i] = address + " " + port
	}
	slices.Sort(want)
	if slices.Sort(clients); !slices.Equal(clients, want) {
		t.Errorf("the node behind was told of %q, want %q", clients, want)
	}
}

// askBy makes a request after a PROXY header.
func askBy(t *testing.T, network, address, header string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patient))
	if _, err := io.WriteString(conn, header+"GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
		t.Fatalf("%q over %s: the answer is %q, %v", header, network, answer, err)
	}
}

// sampleConfig adds to the header what the README's sample does.
const sampleConfig = `
listeners:
  https: {bind: "[::1]:0", protocol: tls, routes: [{sni: "*.example.com", pool: shop}]}
pools:
  shop:
    send_proxy: v2
    %s
    backends: ["127.0.0.1:%d"]
`

// The header of the README's sample is not too long for the installed nginx, not even with the addresses of IPv6 and a
// name of 41 characters.
func TestReadmeFieldsFitNginx(t *testing.T) {
	t.Parallel()
	fields := regexp.MustCompile(`tlvs: \[.*\]`).FindString(readFile(t, "../../../README.md"))
	if fields == "" {
		t.Fatal("the README has no sample with tlvs any more")
	}
	c := newCertificate(t, strings.Repeat("x", 29)+".example.com")
	n := startNginx(t, "nginx", "ssl http2 proxy_protocol", c.nginx())
	r := startSluice(t, fmt.Sprintf(sampleConfig, fields, n.port))
	_, port, _ := net.SplitHostPort(r.address("https"))
	for _, protocol := range []string{"--http2", "--http1.1"} {
		output(t, command(t, program(t, "curl"), "--silent", "--show-error", "--fail", "--cacert", c.file, protocol,
			"--resolve", c.host+":"+port+":[::1]", "https://"+c.host+":"+port+"/"))
	}
	for _, client := range n.logged() {
		if client.Addr().String() != "::1" {
			t.Errorf("nginx was told of %v, want ::1", client)
		}
	}
	r.expectClean(2)
}
