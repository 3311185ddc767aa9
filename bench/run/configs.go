package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// The configurations below are what an expert would write for the work at
// hand: no logs, no checks, no limits near, round robin over four backends.

func sluiceCommand(s setup) (command, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "loops: %d\n", s.threads)
	admin := ""
	if s.asked {
		admin = s.aside.String()
	}
	fmt.Fprintf(&b, "admin: {listen: %q, socket: \"\"}\n", admin)
	b.WriteString("log: {level: warn, sessions: \"off\"}\n")
	fmt.Fprintf(&b, "listeners:\n  bench:\n    bind: %q\n", s.listen)
	if s.deny {
		b.WriteString("    deny: [127.0.0.0/8]\n")
	}
	if s.silent {
		fmt.Fprintf(&b, "    pool: bench\n  aside:\n    bind: %q\n    protocol: tls\n    timeouts: {peek: %s}\n", s.aside, silence)
	}
	if s.names {
		fmt.Fprintf(&b, "    protocol: tls\n    routes:\n%s    pool: other\n", nameLines("      - {sni: [%s], pool: %s}\n"))
	} else {
		b.WriteString("    pool: bench\n")
	}
	b.WriteString("pools:\n  bench:\n    balance: round_robin\n    check: {type: \"off\"}\n")
	if s.proxy {
		b.WriteString("    send_proxy: v2\n")
	}
	b.WriteString("    backends:\n")
	for _, backend := range s.backends {
		fmt.Fprintf(&b, "      - %q\n", backend)
	}
	if s.names {
		fmt.Fprintf(&b, "  other: {check: {type: \"off\"}, backends: [%q]}\n", otherBackend)
	}
	path, err := s.config("sluice.yaml", b.String())
	return command{path: filepath.Join(s.bin, "sluice"), args: []string{"run", "-c", path}}, err
}

const forcedSplice = "option splice-request\n\toption splice-response"

// haproxyCommand returns the variant with the given lines in its defaults, and
// further ones in its global section.
func haproxyCommand(options string, global ...string) func(setup) (command, error) {
	return func(s setup) (command, error) {
		var b strings.Builder
		// maxconn and maxpipes together stay below 20,000 descriptors.
		fmt.Fprintf(&b, "global\n\tnbthread %d\n\tmaxconn 6000\n\tmaxpipes 2000\n", s.cpus())
		for _, line := range global {
			fmt.Fprintf(&b, "\t%s\n", line)
		}
		// The two smart options save a bare ACK at each end of a short session.
		b.WriteString("defaults\n\tmode tcp\n\toption tcp-smart-accept\n\toption tcp-smart-connect\n")
		b.WriteString("\ttimeout connect 5s\n\ttimeout client 60s\n\ttimeout server 60s\n")
		if options != "" {
			fmt.Fprintf(&b, "\t%s\n", options)
		}
		if s.names {
			if err := haproxyNames(&b, s); err != nil {
				return command{}, err
			}
			b.WriteString("backend bench\n")
		} else {
			fmt.Fprintf(&b, "listen bench\n\tbind %s\n", s.listen)
		}
		if s.deny {
			b.WriteString("\ttcp-request connection reject if { src 127.0.0.0/8 }\n")
		}
		b.WriteString("\tbalance roundrobin\n")
		for i, backend := range s.backends {
			fmt.Fprintf(&b, "\tserver b%d %s", i, backend)
			if s.proxy {
				b.WriteString(" send-proxy-v2")
			}
			b.WriteString("\n")
		}
		if s.silent {
			fmt.Fprintf(&b, "listen aside\n\tbind %s\n\ttcp-request inspect-delay %s\n", s.aside, silence)
			b.WriteString("\ttcp-request content accept if { req.ssl_hello_type 1 }\n")
			fmt.Fprintf(&b, "\tserver b0 %s\n", s.backends[0])
		}
		path, err := s.config("haproxy.cfg", b.String())
		return command{path: "haproxy", args: []string{"-db", "-f", path}}, err
	}
}

// haproxyNames writes the frontend that routes by name: with a map, which
// costs the same for any number of names, in place of a line for each.
func haproxyNames(b *strings.Builder, s setup) error {
	names, err := s.config("names.map", nameLines("%s %s\n"))
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "frontend names\n\tbind %s\n", s.listen)
	b.WriteString("\ttcp-request inspect-delay 5s\n\ttcp-request content accept if { req.ssl_hello_type 1 }\n")
	fmt.Fprintf(b, "\tuse_backend %%[req.ssl_sni,lower,map(%s)]\n\tdefault_backend other\n", names)
	fmt.Fprintf(b, "backend other\n\tserver other %s\n", otherBackend)
	return nil
}

// nginxModules is where distributions put the stream module; without one of
// these it is taken to be compiled in.
var nginxModules = []string{"/usr/lib/nginx/modules", "/usr/share/nginx/modules", "/usr/lib64/nginx/modules"}

func nginxCommand(s setup) (command, error) {
	var b strings.Builder
	for _, dir := range nginxModules {
		module := filepath.Join(dir, "ngx_stream_module.so")
		if _, err := os.Stat(module); err == nil {
			fmt.Fprintf(&b, "load_module %s;\n", module)
			break
		}
	}
	level := "warn"
	if s.deny {
		level = "crit" // each refusal is an error to nginx, and nobody else logs them
	}
	fmt.Fprintf(&b, "daemon off;\nworker_processes %d;\npid %s;\nerror_log stderr %s;\n",
		s.cpus(), filepath.Join(s.dir, "nginx.pid"), level)
	b.WriteString("events {\n\tworker_connections 9000;\n}\nstream {\n\taccess_log off;\n\tupstream bench {\n")
	for _, backend := range s.backends {
		fmt.Fprintf(&b, "\t\tserver %s max_fails=0;\n", backend)
	}
	to := "bench"
	if s.names {
		to = "$pool"
		fmt.Fprintf(&b, "\t}\n\tupstream other {\n\t\tserver %s;\n", otherBackend)
		fmt.Fprintf(&b, "\t}\n\tmap $ssl_preread_server_name $pool {\n\t\tdefault other;\n%s", nameLines("\t\t%s %s;\n"))
	}
	// Without proxy_half_close a FIN of the client would end the reply too,
	// which the other systems do not do.
	fmt.Fprintf(&b, "\t}\n\tserver {\n\t\tlisten %s reuseport backlog=4096;\n\t\tproxy_pass %s;\n", s.listen, to)
	b.WriteString("\t\ttcp_nodelay on;\n\t\tproxy_half_close on;\n\t\tproxy_connect_timeout 5s;\n\t\tproxy_timeout 60s;\n")
	if s.proxy {
		b.WriteString("\t\tproxy_protocol on;\n") // v1: its stream module sends no other
	}
	if s.names {
		b.WriteString("\t\tssl_preread on;\n")
	}
	if s.deny {
		b.WriteString("\t\tdeny 127.0.0.0/8;\n")
	}
	if s.silent {
		fmt.Fprintf(&b, "\t}\n\tserver {\n\t\tlisten %s reuseport backlog=4096;\n\t\tproxy_pass %s;\n", s.aside, to)
		fmt.Fprintf(&b, "\t\tssl_preread on;\n\t\tpreread_timeout %s;\n", silence)
	}
	b.WriteString("\t}\n}\n")
	path, err := s.config("nginx.conf", b.String())
	return command{path: "nginx", args: []string{"-c", path, "-e", "stderr"}}, err
}

func ioCopyCommand(s setup) (command, error) {
	var backends []string
	for _, backend := range s.backends {
		backends = append(backends, backend.String())
	}
	c := command{path: filepath.Join(s.bin, "iocopy"),
		args: []string{"-listen", s.listen.String(), "-backends", strings.Join(backends, ",")}}
	if s.proxy {
		c.args = append(c.args, "-proxy")
	}
	if s.threads > 0 {
		c.env = append(c.env, fmt.Sprintf("GOMAXPROCS=%d", s.threads))
	}
	return c, nil
}
