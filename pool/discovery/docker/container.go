package docker

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// A Container is one that runs, or is paused, and what of it concerns sluice.
type Container struct {
	ID      string
	Name    string    // as people write it, without the slash that the API puts before it
	Created time.Time // to the second, unless another one for sluice was made in the same
	Labels  map[string]string
	Serves  bool // it is to get new sessions

	networks map[string]netip.Addr // its address on each; the zero Addr on those of the host, and where it has none
	mode     string                // "host", "container:ID", or a network's name
	ports    []uint16              // of TCP that it exposes, in order
	state    state
	health   health
}

// state is what the engine says of a container.
type state string

const (
	running state = "running"
	paused  state = "paused"
	dead    state = "exited" // also what is none of the others
)

// health is what the engine's own check says of a container.
type health string

const (
	unchecked health = ""
	starting  health = "starting"
	healthy   health = "healthy"
	unhealthy health = "unhealthy"
)

// Older orders containers by their age, and by their ids where that is the same, so that everybody has them in one order.
func Older(a, b Container) int {
	if order := a.Created.Compare(b.Created); order != 0 {
		return order
	}
	return strings.Compare(a.ID, b.ID)
}

// listEntry is a container in the answer to GET /containers/json.
type listEntry struct {
	ID      string `json:"Id"`
	Names   []string
	Created int64
	Labels  map[string]string
	State   string
	Status  string                   // for people: "Up 5 minutes (healthy)"
	Health  *struct{ Status string } // since API 1.52
	Ports   []struct {
		PrivatePort uint16
		Type        string
	}
	HostConfig      struct{ NetworkMode string }
	NetworkSettings *struct {
		Networks map[string]*struct{ IPAddress, GlobalIPv6Address string }
	}
}

// parseContainers reads the answer to GET /containers/json. The containers are in order of their age.
func parseContainers(data []byte) ([]Container, error) {
	var entries []listEntry
	if err := json.Unmarshal(data, &entries); err != nil {
		return nil, err
	}
	all := make([]Container, 0, len(entries))
	for i := range entries {
		if entries[i].ID == "" {
			return nil, fmt.Errorf("container %d of %d has no id", i+1, len(entries))
		}
		all = append(all, entries[i].container())
	}
	slices.SortFunc(all, Older)
	return all, nil
}

func (e *listEntry) container() Container {
	c := Container{
		ID: e.ID, Name: e.name(), Created: time.Unix(e.Created, 0), Labels: ours(e.Labels),
		mode: e.HostConfig.NetworkMode, state: e.runState(), health: e.healthState(),
	}
	for _, p := range e.Ports {
		if p.Type == "tcp" && p.PrivatePort != 0 {
			c.ports = append(c.ports, p.PrivatePort)
		}
	}
	slices.Sort(c.ports)
	c.ports = slices.Compact(c.ports) // one that is published is there for each address
	if e.NetworkSettings == nil {
		return c
	}
	c.networks = make(map[string]netip.Addr, len(e.NetworkSettings.Networks))
	for name, n := range e.NetworkSettings.Networks {
		if n != nil {
			c.networks[name] = firstAddress(n.IPAddress, n.GlobalIPv6Address)
		}
	}
	return c
}

// firstAddress returns the first of some texts that is the address of a host.
func firstAddress(texts ...string) netip.Addr {
	for _, text := range texts {
		if a, err := netip.ParseAddr(text); err == nil && !a.IsUnspecified() && !a.IsMulticast() {
			return a.Unmap()
		}
	}
	return netip.Addr{}
}

// name returns the container's own name. Links of other containers to it are names too, and have a second slash.
func (e *listEntry) name() string {
	for _, n := range e.Names {
		if n = strings.TrimPrefix(n, "/"); n != "" && !strings.Contains(n, "/") {
			return n
		}
	}
	return e.ID[:min(12, len(e.ID))]
}

func (e *listEntry) runState() state {
	switch s := state(e.State); s {
	case running, paused:
		return s
	}
	return dead // restarting, removing, created
}

// healthState is in a field of its own only with newer engines.
func (e *listEntry) healthState() health {
	said := e.Status
	if e.Health != nil {
		said = "(" + e.Health.Status + ")"
	}
	switch {
	case strings.HasSuffix(said, "(healthy)"):
		return healthy
	case strings.HasSuffix(said, "(unhealthy)"):
		return unhealthy
	case strings.HasSuffix(said, "starting)"):
		return starting
	}
	return unchecked
}
