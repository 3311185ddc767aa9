package e2e

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const tlsConfig = `
listeners:
  tls: {bind: "127.0.0.1:0", protocol: tcp, pool: tls}
pools:
  tls:
    balance: round_robin
    send_proxy: %s
    check: {interval: 500ms, timeout: 30s}
    backends: ["127.0.0.1:%d", "127.0.0.1:%d"]
`

// startTLS runs two nodes with one certificate, and a sluice in front of them.
func startTLS(t *testing.T, version string) (*rig, []*node, certificate) {
	t.Helper()
	c := newCertificate(t, "shop.example.com")
	options := "ssl"
	if version != "off" {
		options += " proxy_protocol"
	}
	nodes := []*node{startNginx(t, "t1", options, c.nginx()), startNginx(t, "t2", options, c.nginx())}
	return startSluice(t, fmt.Sprintf(tlsConfig, version, nodes[0].port, nodes[1].port)), nodes, c
}

// secureCurl returns curl's arguments to get a path from a TLS address under the name of its certificate, which must be
// valid.
func secureCurl(c certificate, address, path string, args ...string) []string {
	host, port, _ := strings.Cut(address, ":")
	return append([]string{"--silent", "--show-error", "--fail", "--cacert", c.file,
		"--resolve", c.host + ":" + port + ":" + host, "https://" + c.host + ":" + port + path}, args...)
}

// TLS is for client and node to speak with each other, with and without a PROXY header before it.
func TestTLS(t *testing.T) {
	for _, version := range []string{"off", "v1", "v2"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			r, nodes, c := startTLS(t, version)
			address := r.address("tls")
			for _, name := range []string{"t1", "t2"} {
				checkCurl(t, c, address, name, version)
			}
			for _, protocol := range []string{"-tls1_2", "-tls1_3"} {
				checkOpenSSL(t, c, address, protocol)
			}
			r.expectTLSEnds(4)
			for _, n := range nodes {
				n.expectNoAlerts()
			}
		})
	}
}

// expectTLSEnds waits until n sessions have ended. A TLS client says goodbye when the server may have closed already,
// whose kernel then answers with a reset: that too is how a session ends to which nothing has happened.
func (r *rig) expectTLSEnds(n uint64) {
	r.t.Helper()
	r.untilEnds(fmt.Sprintf("%d clean ends or resets by the server", n), func(got map[string]uint64) bool {
		return got["client_closed"]+got["server_closed"]+got["server_reset"] == n
	})
}

// checkCurl makes a request that the node of that name must answer.
func checkCurl(t *testing.T, c certificate, address, name, version string) {
	t.Helper()
	out := output(t, command(t, program(t, "curl"), secureCurl(c, address, "/",
		"--write-out", "%{local_ip} %{local_port} %{ssl_verify_result}")...))
	told, used, _ := strings.Cut(out, "\n")
	socket, verified := strings.CutSuffix(used, " 0")
	want := name
	if version != "off" {
		want += " " + socket + " " + strings.Replace(address, ":", " ", 1)
	}
	if strings.TrimSpace(told) != want || !verified {
		t.Errorf("the node says %q, curl says %q; want %q and a certificate that is verified", told, used, want)
	}
}

// checkOpenSSL makes a request with openssl s_client, which is strict about the certificate.
func checkOpenSSL(t *testing.T, c certificate, address, protocol string) {
	t.Helper()
	cmd := command(t, program(t, "openssl"), "s_client", "-connect", address, "-servername", c.host, "-CAfile", c.file,
		"-verify_hostname", c.host, "-verify_return_error", "-ign_eof", protocol)
	cmd.Stdin = strings.NewReader("GET / HTTP/1.0\r\n\r\n")
	out := output(t, cmd)
	for _, want := range []string{"Verify return code: 0 (ok)", "Verified peername: " + c.host, "HTTP/1.1 200 OK"} {
		if !strings.Contains(out, want) {
			t.Errorf("openssl s_client %s does not say %q:\n%s", protocol, want, out)
		}
	}
}

// Downloads of 50 MB over TLS arrive as they are, two at a time.
func TestDownload(t *testing.T) {
	t.Parallel()
	r, nodes, c := startTLS(t, "v2")
	want := writeRandom(t, nodes, "download", 50_000_000)
	address := r.address("tls")
	var downloads sync.WaitGroup
	for range 2 {
		downloads.Go(func() {
			sum := sha256.New()
			cmd := command(t, program(t, "curl"), secureCurl(c, address, "/files/download")...)
			cmd.Stdout = sum
			if err := cmd.Run(); err != nil || string(sum.Sum(nil)) != want {
				t.Errorf("download: %v, SHA-256 %x, want %x", err, sum.Sum(nil), want)
			}
		})
	}
	downloads.Wait()
	for _, n := range nodes {
		if got := len(n.logged()); got != 1 {
			t.Errorf("%s had %d downloads, want 1", n.name, got)
		}
	}
	r.expectTLSEnds(2)
}

// writeRandom puts the same file below every node and returns its SHA-256.
func writeRandom(t *testing.T, nodes []*node, name string, size int64) string {
	t.Helper()
	sum := sha256.New()
	files := []io.Writer{sum}
	for _, n := range nodes {
		file, err := os.Create(filepath.Join(n.dir, "files", name))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		files = append(files, file)
	}
	if _, err := io.CopyN(io.MultiWriter(files...), newNoise(1), size); err != nil {
		t.Fatal(err)
	}
	return string(sum.Sum(nil))
}
