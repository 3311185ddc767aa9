package probe

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/pool"
	"sluice/sysutil/systest"
)

// runServer runs a program until the test is over and returns a function that ends it and returns its output.
func runServer(t *testing.T, ports []uint16, path string, args ...string) (stop func() string) {
	t.Helper()
	return runServerAs(t, nil, ports, path, args...)
}

// runServerAs is runServer as another user; nil = as the one there is.
func runServerAs(t *testing.T, as *syscall.Credential, ports []uint16, path string, args ...string) (stop func() string) {
	t.Helper()
	var out strings.Builder
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	stop = func() string {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patient):
			_ = cmd.Process.Kill()
			<-ended
		}
		return out.String()
	}
	t.Cleanup(func() { stop() })
	for _, port := range ports {
		until(t, fmt.Sprintf("%s listens on port %d", path, port), func() bool { return systest.Listening(t, int(port)) })
	}
	return stop
}

// askAll asks a server in the given ways, more than once, with every version of the header or, for 0, without one.
func askAll(t *testing.T, port uint16, header bool, kinds ...Config) {
	t.Helper()
	a := pool.Address{TCP: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port)}
	versions := []uint8{0}
	if header {
		versions = []uint8{1, 2}
	}
	for _, c := range kinds {
		for _, c.ProxyVersion = range versions {
			p := newProber(t, c, a)
			for range 10 {
				if _, err := ask(t, p); err != nil {
					t.Fatalf("%v of port %d with header %d: %v", c.Kind, port, c.ProxyVersion, err)
				}
			}
		}
	}
}

var (
	askTCP   = Config{Kind: TCP}
	askTLS   = Config{Kind: TLS}
	askHTTP  = Config{Kind: HTTP, HTTP: HTTPConfig{Body: "ok"}}
	askHTTPS = Config{Kind: HTTP, HTTP: HTTPConfig{Body: "ok"}, InTLS: true}
)

// keyFiles writes a certificate, its key, and both in one file.
func keyFiles(t *testing.T, dir string) {
	t.Helper()
	certificate, _ := authority(t, []string{"localhost"})
	c, k := pemOf(t, certificate)
	for name, content := range map[string][]byte{"crt": c, "key": k, "both": append(c, k...)} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestNginxLogsNothing at the level notice, which is more than its default of error.
func TestNginxLogsNothing(t *testing.T) {
	dir, ports := t.TempDir(), freePorts(t, 6)
	keyFiles(t, dir)
	config := fmt.Sprintf(`
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log notice;
events {}
http {
	access_log off; ssl_certificate %[1]s/crt; ssl_certificate_key %[1]s/key;
	client_body_temp_path %[1]s/1; proxy_temp_path %[1]s/2; fastcgi_temp_path %[1]s/3;
	uwsgi_temp_path %[1]s/4; scgi_temp_path %[1]s/5;
	server { listen 127.0.0.1:%[2]d; return 200 ok; }
	server { listen 127.0.0.1:%[3]d proxy_protocol; return 200 ok; }
	server { listen 127.0.0.1:%[4]d ssl; return 200 ok; }
	server { listen 127.0.0.1:%[5]d ssl proxy_protocol; return 200 ok; }
}
stream {
	ssl_certificate %[1]s/crt; ssl_certificate_key %[1]s/key;
	server { listen 127.0.0.1:%[6]d proxy_protocol; proxy_pass 127.0.0.1:%[2]d; }
	server { listen 127.0.0.1:%[7]d ssl proxy_protocol; proxy_pass 127.0.0.1:%[2]d; }
}`, dir, ports[0], ports[1], ports[2], ports[3], ports[4], ports[5])
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := runServer(t, ports, "/usr/sbin/nginx", "-c", filepath.Join(dir, "conf"))
	log := func() string {
		t.Helper()
		text, err := os.ReadFile(filepath.Join(dir, "error.log"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	before := len(log())
	askAll(t, ports[0], false, askTCP, askHTTP)
	askAll(t, ports[1], true, askTCP, askHTTP)
	askAll(t, ports[2], false, askTCP, askTLS, askHTTPS)
	askAll(t, ports[3], true, askTCP, askTLS, askHTTPS)
	askAll(t, ports[4], true, askTCP, askHTTP)
	askAll(t, ports[5], true, askTCP, askTLS, askHTTPS)
	during := log()[before:]
	stop()
	for line := range strings.Lines(during) {
		t.Errorf("nginx logged %s", line)
	}
}

// TestHAProxyLogsNothing with dontlognull, which its documentation advises where connections are probed.
func TestHAProxyLogsNothing(t *testing.T) {
	dir, ports := t.TempDir(), freePorts(t, 4)
	keyFiles(t, dir)
	config := fmt.Sprintf(`
global
	log stdout format raw local0
defaults
	log global
	option dontlognull
	timeout client 5s
	timeout server 5s
	timeout connect 5s
frontend tcp
	mode tcp
	option tcplog
	bind 127.0.0.1:%[2]d accept-proxy
	bind 127.0.0.1:%[3]d accept-proxy ssl crt %[1]s/both
	default_backend none
frontend http
	mode http
	option httplog
	http-request return status 200 content-type text/plain string ok
	bind 127.0.0.1:%[4]d accept-proxy
	bind 127.0.0.1:%[5]d accept-proxy ssl crt %[1]s/both
backend none
`, dir, ports[0], ports[1], ports[2], ports[3])
	if err := os.WriteFile(filepath.Join(dir, "conf"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	stop := runServer(t, ports, "/usr/sbin/haproxy", "-db", "-f", filepath.Join(dir, "conf"))
	askAll(t, ports[0], true, askTCP)
	askAll(t, ports[1], true, askTCP, askTLS)
	askAll(t, ports[2], true, askTCP)
	askAll(t, ports[3], true, askTCP, askTLS)
	if out := stop(); out != "" {
		t.Errorf("haproxy logged:\n%s", out)
	}
}
