package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A patroniCluster is three nodes and the etcd that they agree by. As in production, they have the same ports at
// different addresses: Patroni's own HAProxy sample, and sluice's check, name one port for all.
type patroniCluster struct {
	t     *testing.T
	nodes []*patroniNode
	port  int // of Postgres
	rest  int // of Patroni's REST API
}

// patroniConfig is the configuration of a node. The leader's key lives 20 seconds, the least that Patroni's
// documentation allows; so long it takes until another node may take the place of a leader that says nothing any more.
// The retry timeout is the most that this allows (loop_wait + 2 * retry_timeout <= ttl): a machine that is slow for a
// while must not demote anybody.
const patroniConfig = `
scope: sluice
name: %[1]s
restapi: {listen: "%[2]s:%[4]d", connect_address: "%[2]s:%[4]d"}
etcd3: {host: "127.0.0.1:%[5]d"}
bootstrap:
  dcs:
    ttl: 20
    loop_wait: 1
    retry_timeout: 9
    postgresql:
      use_pg_rewind: true
      parameters:
        max_connections: 200
        wal_keep_size: 64MB
        wal_log_hints: "on"
  initdb: [{encoding: UTF8}, {auth: trust}, no-locale, no-sync]
postgresql:
  listen: "%[2]s:%[3]d"
  connect_address: "%[2]s:%[3]d"
  data_dir: "%[6]s/data"
  bin_dir: "%[7]s"
  pgpass: "%[6]s/pgpass"
  basebackup: [{checkpoint: fast}, no-sync]
  authentication:
    superuser: {username: postgres}
    replication: {username: replicator}
  pg_hba:
    - host all all 127.0.0.0/8 trust
    - host replication all 127.0.0.0/8 trust
  parameters:
    unix_socket_directories: ""
    dynamic_shared_memory_type: mmap # nothing is left in /dev/shm by a server that is killed
    ssl: "on"
    ssl_cert_file: "%[6]s/server.crt"
    ssl_key_file: "%[6]s/server.key"
    fsync: "off"
    autovacuum: "off"
    shared_buffers: 16MB
    min_wal_size: 32MB
    max_wal_size: 64MB
`

// startPatroni makes a cluster and waits until it has a leader and two replicas.
func startPatroni(t *testing.T) *patroniCluster {
	t.Helper()
	etcd := startEtcd(t)
	hosts := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	c := &patroniCluster{t: t, port: reservePorts(t, hosts...), rest: reservePorts(t, hosts...)}
	for i, host := range hosts {
		c.nodes = append(c.nodes, newPatroniNode(t, fmt.Sprintf("node%d", i+1), host, c.port, c.rest, etcd))
	}
	for _, n := range c.nodes {
		n.start()
	}
	c.untilHealthy()
	return c
}

// startEtcd runs a store of its own for one cluster and returns its port.
func startEtcd(t *testing.T) (port int) {
	t.Helper()
	dir, client, peer := tempDir(t), systest.ReservePort(t), systest.ReservePort(t)
	address := func(port int) string { return fmt.Sprintf("http://127.0.0.1:%d", port) }
	cmd := exec.Command(program(t, "etcd"), "--name", "etcd", "--data-dir", dir+"/data", "--logger", "zap",
		"--listen-client-urls", address(client), "--advertise-client-urls", address(client),
		"--listen-peer-urls", address(peer), "--initial-advertise-peer-urls", address(peer),
		"--initial-cluster", "etcd="+address(peer))
	cmd.Dir = dir
	start(t, "etcd", dir, cmd).untilListening(client)
	until(t, "etcd serves", func() error {
		var version struct{ EtcdCluster string }
		if err := askJSON("GET", address(client)+"/version", nil, &version); err != nil {
			return err
		}
		if version.EtcdCluster == "not_decided" {
			return errors.New("its members have not met") // Patroni would wait for 5 seconds before it asks again
		}
		return nil
	})
	return client
}

// patroniMember is what Patroni says of a node.
type patroniMember struct {
	Name, Role, State string
	Timeline          int
}

// members asks Patroni who is who: the first node that answers, with what all nodes have told etcd.
func (c *patroniCluster) members() (members []patroniMember, err error) {
	err = errors.New("no node runs")
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		var answer struct{ Members []patroniMember }
		if err = n.ask("GET", "/cluster", nil, &answer); err == nil {
			return answer.Members, nil
		}
	}
	return nil, err
}

// ask sends a request to Patroni's REST API.
func (n *patroniNode) ask(method, path string, body, answer any) error {
	if err := askJSON(method, fmt.Sprintf("http://%s:%d%s", n.host, n.rest, path), body, answer); err != nil {
		return fmt.Errorf("ask %s: %w", n.name, err)
	}
	return nil
}

// askJSON sends a request. An answer other than 200 is an error. answer may be nil.
func askJSON(method, url string, body, answer any) error {
	sent, err := json.Marshal(body)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(method, url, bytes.NewReader(sent))
	if err != nil {
		return err
	}
	client := http.Client{Timeout: patient}
	defer client.CloseIdleConnections()
	got, err := client.Do(request)
	if err != nil {
		return err
	}
	defer got.Body.Close()
	text, err := io.ReadAll(got.Body)
	if err != nil {
		return err
	}
	if got.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s is answered with %d %s", method, url, got.StatusCode, text)
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(text, answer)
}

// untilHealthy waits until every node whose Patroni runs is the leader or a replica of its timeline that streams, and
// returns the leader. It waits for longer than other tests do: for the making of two copies, or for the end of the
// leader's key.
func (c *patroniCluster) untilHealthy() (leader *patroniNode) {
	c.t.Helper()
	deadline := time.Now().Add(2 * patient)
	for {
		leader, err := c.healthy()
		if err == nil {
			return leader
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("Patroni is not healthy in %v: %v", 2*patient, err)
		}
		time.Sleep(10 * pollEvery) // it costs Patroni more than others to answer
	}
}

func (c *patroniCluster) healthy() (leader *patroniNode, err error) {
	members, err := c.members()
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(members, func(m patroniMember) bool { return m.Role == "leader" })
	if i < 0 || !c.node(members[i].Name).running() {
		return nil, fmt.Errorf("there is no leader: %+v", members)
	}
	leader = c.node(members[i].Name)
	for _, n := range c.nodes {
		if !n.running() {
			continue
		}
		j := slices.IndexFunc(members, func(m patroniMember) bool { return m.Name == n.name })
		if j < 0 || members[j].State != "running" || members[j].Timeline != members[i].Timeline {
			return nil, fmt.Errorf("%s is not in step: %+v", n.name, members)
		}
	}
	return leader, c.streaming(leader)
}

// streaming returns an error unless every replica that runs streams from the leader.
func (c *patroniCluster) streaming(leader *patroniNode) error {
	out, err := pgCommand(c.t, leader.address(), "psql", "-X", "-A", "-t", "-c",
		"select string_agg(application_name, ' ') from pg_stat_replication where state = 'streaming'").Output()
	if err != nil {
		return fmt.Errorf("ask %s who streams: %w", leader.name, err)
	}
	for _, n := range c.replicas(leader) {
		if !slices.Contains(strings.Fields(string(out)), n.name) {
			return fmt.Errorf("%s does not stream", n.name)
		}
	}
	return nil
}

func (c *patroniCluster) node(name string) *patroniNode {
	c.t.Helper()
	i := slices.IndexFunc(c.nodes, func(n *patroniNode) bool { return n.name == name })
	if i < 0 {
		c.t.Fatalf("the cluster has no node %q", name)
	}
	return c.nodes[i]
}

// replicas returns the nodes that run, but for the leader.
func (c *patroniCluster) replicas(leader *patroniNode) []*patroniNode {
	return slices.DeleteFunc(slices.Clone(c.nodes), func(n *patroniNode) bool { return n == leader || !n.running() })
}

// switchover asks Patroni to make a replica the leader, and returns when it is one.
func (c *patroniCluster) switchover(leader, candidate *patroniNode) {
	c.t.Helper()
	order := map[string]string{"leader": leader.name, "candidate": candidate.name}
	if err := leader.ask("POST", "/switchover", order, nil); err != nil {
		c.t.Fatalf("switch over from %s to %s: %v", leader.name, candidate.name, err)
	}
}
