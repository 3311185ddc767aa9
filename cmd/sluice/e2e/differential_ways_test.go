package e2e

import (
	"fmt"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// wayTimeout is after how long every balancer may give up a session on which nothing moves, half-closed or not.
const wayTimeout = 3 * time.Second

// A way leads from a client to a server, for each scenario on addresses of its own.
type way struct {
	name    string
	servers []*server
	front   []string           // where the clients connect to
	ready   func(scenario int) // waits until the server is known to be there; nil = nothing to wait for
}

// newWay has servers for all scenarios.
func newWay(t *testing.T, name string) *way {
	t.Helper()
	w := &way{name: name}
	for _, s := range scenarios {
		server := newServer(t, s)
		w.servers = append(w.servers, server)
		w.front = append(w.front, server.address)
	}
	return w
}

func directly(t *testing.T) *way { return newWay(t, "directly") }

// exitingPool is one whose server leaves, which checks find out, while another one stays.
const exitingPool = `
    balance: first
    check: {interval: 200ms, jitter: 0, fast_interval: 100ms, timeout: 30s, rise: 1, fall: 2}
    on_down: {grace: 500ms, rate: 0}
    backends: [{name: %[1]s, address: %[2]q}, {name: %[1]s-spare, address: %[3]q}]
`

func throughSluice(t *testing.T) *way {
	t.Helper()
	w, spare := newWay(t, "sluice"), newSpare(t)
	listeners, pools := "listeners:\n", "pools:\n"
	for i, s := range scenarios {
		name := fmt.Sprintf("s%02d", i)
		listeners += fmt.Sprintf("  %s: {bind: \"127.0.0.1:0\", pool: %[1]s, timeouts: {idle: %[2]v, fin: %[2]v}}\n", name, wayTimeout)
		if pools += "  " + name + ":"; s.exits {
			pools += fmt.Sprintf(exitingPool, name, w.servers[i].address, spare)
		} else {
			pools += fmt.Sprintf(" {check: {type: off}, backends: [{name: %s, address: %q}]}\n", name, w.servers[i].address)
		}
	}
	r := startSluice(t, listeners+pools)
	for i, l := range r.status().Listeners {
		w.front[i] = l.Addresses[0]
	}
	w.ready = func(scenario int) { r.untilUsable(fmt.Sprintf("s%02d", scenario), true) }
	return w
}

const haproxyWay = `
defaults
	log global
	mode tcp
	timeout connect 5s
	timeout client %[1]v
	timeout server %[1]v
`

func throughHAProxy(t *testing.T) *way {
	t.Helper()
	w, spare := newWay(t, "HAProxy"), newSpare(t)
	config := fmt.Sprintf(haproxyWay, wayTimeout)
	port := 0
	for i, s := range scenarios {
		port = systest.ReservePort(t)
		config += fmt.Sprintf("listen s%02d\n\tbind 127.0.0.1:%d\n\tserver server %s", i, port, w.servers[i].address)
		if s.exits {
			config += fmt.Sprintf(" check inter 200ms fall 2 rise 1\n\tserver spare %s backup", spare)
		}
		config += "\n"
		w.front[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	startHAProxy(t, "way", port, config)
	return w
}

const nginxWay = `
load_module /usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
master_process off;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 1024; }
stream {
	proxy_connect_timeout 5s;
	proxy_timeout %v;
	proxy_half_close on;
	%s
}
`

func throughNginx(t *testing.T) *way {
	t.Helper()
	w := newWay(t, "nginx")
	var servers strings.Builder
	port := 0
	for i, s := range w.servers {
		port = systest.ReservePort(t)
		fmt.Fprintf(&servers, "server { listen 127.0.0.1:%d; proxy_pass %s; }\n\t", port, s.address)
		w.front[i] = fmt.Sprintf("127.0.0.1:%d", port)
	}
	dir := tempDir(t)
	writeFile(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxWay, wayTimeout, servers.String()))
	p := start(t, "nginx", dir, exec.Command(program(t, "nginx"), "-p", dir+"/", "-c", "nginx.conf", "-e", "error.log"))
	p.untilListening(port)
	return w
}

// newSpare returns the address of a server that takes connections and ends them.
func newSpare(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return // closed
			}
			c.Close()
		}
	}()
	return listener.Addr().String()
}
