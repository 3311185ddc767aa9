package e2e

import (
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/sysutil/systest"
)

// A patroniFront is a balancer before the cluster.
type patroniFront struct {
	name        string
	rig         *rig   // nil: it is not sluice
	write, read string // addresses
}

// patroniRoleConfig asks the servers themselves who they are, not Patroni. %[1]s is the backends.
const patroniRoleConfig = `
listeners:
  primary: {bind: "127.0.0.1:0", protocol: postgres, pool: primary}
  replicas: {bind: "127.0.0.1:0", protocol: postgres, pool: replicas}
pools:
  primary:
    queue: {timeout: 3m}
    check: {type: postgres, role: primary, user: postgres, interval: 1s, timeout: 5s}
    backends: [%[1]s]
  replicas:
    check: {type: postgres, role: replica, user: postgres, interval: 1s, timeout: 5s}
    backends: [%[1]s]
`

// patroniHAProxyConfig is Patroni's own sample, extras/confd/templates/haproxy.tmpl, with the members filled in and
// with a log. %[1]d and %[2]d are the ports, %[3]s is the servers.
const patroniHAProxyConfig = `
global
	maxconn 100
	log stdout format raw local0 notice

defaults
	log global
	mode tcp
	retries 2
	timeout client 30m
	timeout connect 4s
	timeout server 30m
	timeout check 5s

listen primary
	bind 127.0.0.1:%[1]d
	option httpchk HEAD /primary
	http-check expect status 200
	default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
	%[3]s

listen replicas
	bind 127.0.0.1:%[2]d
	option httpchk HEAD /replica
	http-check expect status 200
	default-server inter 3s fall 3 rise 2 on-marked-down shutdown-sessions
	%[3]s
`

// startHAProxy runs HAProxy before the cluster as Patroni has it.
func (c *patroniCluster) startHAProxy() *patroniFront {
	c.t.Helper()
	var servers []string
	for _, n := range c.nodes {
		servers = append(servers, fmt.Sprintf("server %s %s maxconn 100 check port %d", n.name, n.address(), c.rest))
	}
	dir, ports := tempDir(c.t), []int{systest.ReservePort(c.t), systest.ReservePort(c.t)}
	file := filepath.Join(dir, "haproxy.cfg")
	writeFile(c.t, file, fmt.Sprintf(patroniHAProxyConfig, ports[0], ports[1], strings.Join(servers, "\n\t")))
	p := start(c.t, "haproxy", dir, exec.Command(program(c.t, "haproxy"), "-db", "-f", file))
	f := &patroniFront{name: "HAProxy"}
	for i, address := range []*string{&f.write, &f.read} {
		p.untilListening(ports[i])
		*address = fmt.Sprintf("127.0.0.1:%d", ports[i])
	}
	return f
}

// startSluice runs sluice before the cluster.
func (c *patroniCluster) startSluice(name, config string) *patroniFront {
	c.t.Helper()
	r := startSluice(c.t, config)
	return &patroniFront{name: name, rig: r, write: r.address("primary"), read: r.address("replicas")}
}

// backends returns the nodes as sluice's backends.
func (c *patroniCluster) backends() string {
	var backends []string
	for _, n := range c.nodes {
		backends = append(backends, fmt.Sprintf("{name: %s, address: %q}", n.name, n.address()))
	}
	return strings.Join(backends, ", ")
}

// expectRouting waits until a balancer sends who writes to the leader and who reads to the replicas, all of them, and
// checks that it then goes on to do so.
func (f *patroniFront) expectRouting(t *testing.T, leader *patroniNode, replicas []*patroniNode) {
	t.Helper()
	var hosts []string
	for _, n := range replicas {
		hosts = append(hosts, n.host)
	}
	for _, way := range []struct {
		address  string
		recovery string // what pg_is_in_recovery says there
		want     []string
	}{
		{f.write, "f", []string{leader.host}},
		{f.read, "t", hosts},
	} {
		slices.Sort(way.want)
		until(t, fmt.Sprintf("%s sends from %s to %v", f.name, way.address, way.want), func() error {
			got, err := hostsReached(t, way.address, way.recovery, 6)
			if err == nil && !slices.Equal(got, way.want) {
				err = fmt.Errorf("the servers are %v, want %v", got, way.want)
			}
			return err
		})
		// One of the replicas may be slow to answer its check, and be left out for a while.
		got, err := hostsReached(t, way.address, way.recovery, 12)
		if err != nil || len(difference(got, way.want)) > 0 {
			t.Errorf("%s sends to other servers than Patroni says: to %v, %v", f.name, got, err)
		}
	}
}

// hostsReached opens connections one after the other, and returns the hosts that they reach, and an error unless each
// of them is what it should be.
func hostsReached(t *testing.T, address, recovery string, n int) ([]string, error) {
	t.Helper()
	const question = "select pg_is_in_recovery(), host(inet_server_addr())"
	reached := make(map[string]bool)
	for range n {
		cmd := pgCommand(t, address, "psql", "-X", "-A", "-t", "-c", question)
		out, err := cmd.Output()
		if err != nil {
			return nil, fmt.Errorf("%w: %s", err, complaint(err))
		}
		role, host, _ := strings.Cut(strings.TrimSpace(string(out)), "|")
		if role != recovery {
			return nil, fmt.Errorf("at %s pg_is_in_recovery() is %s", host, role)
		}
		reached[host] = true
	}
	return slices.Sorted(maps.Keys(reached)), nil
}
