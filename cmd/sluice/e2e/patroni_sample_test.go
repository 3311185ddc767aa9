package e2e

import (
	"maps"
	"os/exec"

	"github.com/goccy/go-yaml"
)

// sample returns the configuration that `sluice init patroni` prints, with the cluster's nodes and ports in place of
// its own, and with a queue in which clients wait for as long as this cluster may take to find another leader.
// Everything else is as it is printed.
func (c *patroniCluster) sample() string {
	c.t.Helper()
	type section = map[string]any
	var file struct{ Listeners, Pools map[string]section }
	if err := yaml.Unmarshal([]byte(output(c.t, exec.Command(sluiceProgram, "init", "patroni"))), &file); err != nil {
		c.t.Fatal(err)
	}
	for _, l := range file.Listeners {
		l["bind"] = "127.0.0.1:0"
	}
	for name, p := range file.Pools {
		check, ok1 := p["check"].(section)
		queue, ok2 := p["queue"].(section)
		backends, ok3 := p["backends"].([]any)
		if !ok1 || !ok2 || !ok3 || check["port"] == nil || len(backends) != len(c.nodes) {
			c.t.Fatalf("the sample's pool %s is %v, want a check with a port, a queue, and %d backends", name, p,
				len(c.nodes))
		}
		check["port"] = c.rest
		queue["timeout"] = patroniPatience.String()
		for i, n := range c.nodes {
			backend := maps.Clone(backends[i].(section))
			backend["name"], backend["address"] = n.name, n.address()
			backends[i] = backend
		}
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		c.t.Fatal(err)
	}
	return string(text)
}
