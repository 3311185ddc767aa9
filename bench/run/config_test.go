package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestConfigurations(t *testing.T) {
	f := func(name string, s setup, want []string, unwanted string) {
		t.Helper()
		s.dir = t.TempDir()
		s.listen = netip.MustParseAddrPort("127.0.0.1:4000")
		s.backends = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:5001"), netip.MustParseAddrPort("127.0.0.2:5002")}
		list := systems()
		i := slices.IndexFunc(list, func(s system) bool { return s.name == name })
		c, err := list[i].command(s)
		if err != nil {
			t.Fatal(err)
		}
		// The command line and environment are part of the configuration.
		text := fmt.Sprintln(c.path, c.args, c.env)
		files, _ := filepath.Glob(filepath.Join(s.dir, "*"))
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			text += string(b)
		}
		for _, part := range want {
			if !strings.Contains(text, part) {
				t.Errorf("%s: no %q in:\n%s", name, part, text)
			}
		}
		if unwanted != "" && strings.Contains(text, unwanted) {
			t.Errorf("%s: %q in:\n%s", name, unwanted, text)
		}
	}
	all := fmt.Sprint(runtime.NumCPU())
	f("sluice", setup{bin: "/b"}, []string{"/b/sluice [run -c ", "loops: 0\n", `bind: "127.0.0.1:4000"`,
		"- \"127.0.0.1:5001\"\n", "- \"127.0.0.2:5002\"\n"}, "send_proxy")
	f("sluice", setup{duty: duty{threads: 1, proxy: true}}, []string{"loops: 1\n", "send_proxy: v2\n"}, "")
	deny, names := setup{duty: duty{deny: true}}, setup{duty: duty{names: true}}
	const asked, another = "host50.bench.example", "host99.bench.example"
	f("sluice", deny, []string{"    deny: [127.0.0.0/8]\n", "    pool: bench\n"}, "tls")
	f("sluice", names, []string{"protocol: tls\n", "- {sni: [" + asked + "], pool: bench}\n",
		"- {sni: [" + another + "], pool: other}\n", "\n    pool: other\n"}, "deny")
	f("HAProxy", deny, []string{"listen bench\n\tbind 127.0.0.1:4000\n\ttcp-request connection reject if { src 127.0.0.0/8 }\n"}, "ssl")
	f("HAProxy", names, []string{"tcp-request content accept if { req.ssl_hello_type 1 }\n", "use_backend %[req.ssl_sni,lower,map(",
		"names.map)]\n", asked + " bench\n", another + " other\n", "default_backend other\n",
		"backend bench\n\tbalance roundrobin\n\tserver b0 127.0.0.1:5001\n"}, "reject")
	f("nginx", deny, []string{"deny 127.0.0.0/8;", "error_log stderr crit;", "proxy_pass bench;"}, "ssl")
	f("nginx", names, []string{"map $ssl_preread_server_name $pool {\n\t\tdefault other;\n", asked + " bench;\n", another + " other;\n",
		"proxy_pass $pool;", "ssl_preread on;", "error_log stderr warn;"}, "deny")
	f("HAProxy", setup{}, []string{"haproxy [-db -f ", "nbthread " + all + "\n", "server b1 127.0.0.2:5002\n"}, "splice")
	f("HAProxy splice-auto", setup{}, []string{"option splice-auto\n"}, "send-proxy")
	f("HAProxy splice", setup{duty: duty{threads: 1, proxy: true}}, []string{"nbthread 1\n", "option splice-request\n",
		"option splice-response\n", "server b0 127.0.0.1:5001 send-proxy-v2\n"}, "splice-auto")
	f("nginx", setup{}, []string{"nginx [-c ", "worker_processes " + all + ";", "listen 127.0.0.1:4000 reuseport",
		"server 127.0.0.2:5002 max_fails=0;"}, "proxy_protocol")
	f("nginx", setup{duty: duty{threads: 1, proxy: true}}, []string{"worker_processes 1;", "proxy_protocol on;"}, "")
	f("io.Copy", setup{bin: "/b"}, []string{"/b/iocopy [-listen 127.0.0.1:4000 -backends 127.0.0.1:5001,127.0.0.2:5002]"}, "GOMAXPROCS")
	f("io.Copy", setup{duty: duty{threads: 1, proxy: true}}, []string{"-proxy]", "[GOMAXPROCS=1]"}, "")
}

func TestOptions(t *testing.T) {
	f := func(line string, wantRows, wantSystems int, wantPartial bool, wantErr string) {
		t.Helper()
		o, err := parseOptions(strings.Fields(line))
		if wantErr != "" {
			if err == nil || err.Error() != wantErr {
				t.Errorf("%q: got error %v, want %q", line, err, wantErr)
			}
			return
		}
		if err != nil || len(o.rows) != wantRows || len(o.systems) != wantSystems || o.partial != wantPartial {
			t.Errorf("%q: %d rows, %d systems, partial %v, error %v; want %d, %d, %v",
				line, len(o.rows), len(o.systems), o.partial, err, wantRows, wantSystems, wantPartial)
		}
	}
	f("", 19, 7, false, "")
	f("-quick", 8, 6, false, "")
	f("-only idle,8K-64", 2, 7, true, "")
	f("-systems haproxy,io.copy", 19, 4, true, "")
	f("-quick -only 8k-1 -systems HAProxy", 1, 2, true, "")
	f("-only idle,nothing", 0, 0, false, `-only: there is no "nothing"`)
	f("-systems envoy", 0, 0, false, `-systems: there is no "envoy"`)
	f("-rounds 0", 0, 0, false, "want no arguments, and positive rounds and duration")
	f("quick", 0, 0, false, "want no arguments, and positive rounds and duration")
}

func TestDefaultDuration(t *testing.T) {
	f := func(line string, want time.Duration) {
		t.Helper()
		if o, err := parseOptions(strings.Fields(line)); err != nil || o.duration != want {
			t.Errorf("%q: %v, %v; want %v", line, o.duration, err, want)
		}
	}
	f("", 1500*time.Millisecond)
	f("-quick", time.Second)
	f("-quick -duration 3s", 3*time.Second)
}
