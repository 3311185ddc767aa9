package labels

import (
	"fmt"
	"slices"
	"strings"

	"sluice/pool/discovery/docker"
)

// said is one thing that containers say, and those that do: the oldest first.
type said struct {
	text string
	by   []int // containers, by their places
}

// say takes down what one more container says. It reports whether that agrees with what was said before.
func (s *said) say(text string, by int) bool {
	if len(s.by) == 0 {
		s.text = text
	}
	if s.text != text {
		return false
	}
	if !slices.Contains(s.by, by) {
		s.by = append(s.by, by)
	}
	return true
}

// A plan is what labels say all in all.
type plan struct {
	containers []docker.Container // the oldest first
	refused    []string           // why the labels of each count for nothing; "" = they count
	ignored    []string           // what of its labels does, though the others count

	failed    map[string]string // listeners that cannot be had, and why, by name
	listeners []*listener       // those of the oldest containers first
	pools     map[string]*poolPlan
}

// listener is one address with what becomes of sessions there.
type listener struct {
	address  said
	protocol said
	pool     said             // of those that no name is for; text "" = none
	names    map[string]*said // the pool of each name of TLS
}

// poolPlan is a pool that a listener needs.
type poolPlan struct {
	name     said
	settings map[string]*said // by label
	known    bool             // files have a pool of this name
}

type settingKey struct{ label, key, format string }

// settingKeys are the labels that are keys of a pool, and how its YAML has them.
var settingKeys = []settingKey{
	{docker.LabelBalance, "balance", "balance: %s"},
	{docker.LabelSendProxy, "send_proxy", "send_proxy: %s"},
	{docker.LabelCheck, "type", "check: {type: %s}"},
}

// newPlan makes a plan of containers, the oldest first. failed are listeners that cannot be had; those of the containers that are
// refused already, by their ids, have no say; known are the pools that files have.
func newPlan(containers []docker.Container, failed, refused map[string]string, known map[string]bool) *plan {
	p := &plan{
		containers: containers, failed: failed, refused: make([]string, len(containers)), ignored: make([]string, len(containers)),
		pools: make(map[string]*poolPlan),
	}
	for i := range containers {
		c := &containers[i]
		p.refused[i] = refused[c.ID]
		if p.refused[i] != "" {
			continue
		}
		if err := docker.CheckLabels(c.Labels); err != nil {
			p.refused[i] = err.Error()
		} else if concerned(c) {
			p.refused[i] = p.add(i, known)
		}
	}
	return p
}

// concerned reports whether a container says anything that a listener or a pool is made of.
func concerned(c *docker.Container) bool {
	says := func(label string) bool {
		_, has := c.Labels[label]
		return has
	}
	return says(docker.LabelListen) || says(docker.LabelProtocol) || says(docker.LabelSNI) ||
		slices.ContainsFunc(settingKeys, func(k settingKey) bool { return says(k.label) })
}

// add takes down what a container says: all of it, or nothing for the reason that is returned.
func (p *plan) add(i int, known map[string]bool) (refusal string) {
	labels := p.containers[i].Labels
	pool, addresses, names := labels[docker.LabelPool], words(labels[docker.LabelListen]), words(labels[docker.LabelSNI])
	protocol := labels[docker.LabelProtocol]
	if protocol == "" {
		protocol = "tcp"
	}
	switch _, listens := labels[docker.LabelListen]; {
	case pool == "":
		return "it has no label " + docker.LabelPool + ": say which pool it is of"
	case listens && len(addresses) == 0:
		return "label " + docker.LabelListen + " is empty: write an address, for example :5432"
	case !listens && (labels[docker.LabelProtocol] != "" || len(names) > 0):
		return fmt.Sprintf("labels %s and %s are for a listener: say which one with the label %s", docker.LabelProtocol,
			docker.LabelSNI, docker.LabelListen)
	}
	for _, a := range addresses {
		if why := p.contradicts(a, protocol, pool, names); why != "" {
			return why
		}
	}
	for _, a := range addresses {
		p.listen(i, a, protocol, pool, names)
	}
	p.use(i, pool, known)
	return ""
}

// contradicts returns what is in the way of a container that wants an address; "" = nothing.
func (p *plan) contradicts(address, protocol, pool string, names []string) string {
	if strings.HasPrefix(address, "unix:") {
		return fmt.Sprintf("label %s=%s: labels make no files: write an address of TCP", docker.LabelListen, address)
	}
	if why := p.failed[listenerName(address)]; why != "" {
		return why
	}
	l := p.at(address)
	if l == nil {
		return ""
	}
	if l.protocol.text != protocol {
		return fmt.Sprintf("container %s, which is older, has %s with protocol %s, not %s", p.name(&l.protocol), address,
			l.protocol.text, protocol)
	}
	if len(names) == 0 && len(l.pool.by) > 0 && l.pool.text != pool {
		return fmt.Sprintf("container %s, which is older, has %s for pool %s, not %s", p.name(&l.pool), address, l.pool.text, pool)
	}
	for _, name := range names {
		if other := l.names[name]; other != nil && other.text != pool {
			return fmt.Sprintf("container %s, which is older, has the name %s on %s for pool %s, not %s", p.name(other), name,
				address, other.text, pool)
		}
	}
	return ""
}

// listen takes down what a container says of an address, which contradicts nobody.
func (p *plan) listen(i int, address, protocol, pool string, names []string) {
	l := p.at(address)
	if l == nil {
		l = &listener{names: make(map[string]*said)}
		p.listeners = append(p.listeners, l)
	}
	l.address.say(address, i)
	l.protocol.say(protocol, i)
	if len(names) == 0 {
		l.pool.say(pool, i)
	}
	for _, name := range names {
		if l.names[name] == nil {
			l.names[name] = new(said)
		}
		l.names[name].say(pool, i)
	}
}

// use takes down what a container says of its pool. Nothing serves less because of a setting that another container has
// otherwise, so that the container keeps its say in the rest.
func (p *plan) use(i int, name string, known map[string]bool) {
	pool := p.pools[name]
	if pool == nil {
		pool = &poolPlan{settings: make(map[string]*said), known: known[name]}
		p.pools[name] = pool
	}
	pool.name.say(name, i)
	for _, key := range settingKeys {
		text, has := p.containers[i].Labels[key.label]
		if !has {
			continue
		}
		if pool.known {
			p.ignored[i] = fmt.Sprintf("label %s=%s: pool %s is in the files of the configuration, and they say what it is", key.label, text, name)
			continue
		}
		if pool.settings[key.label] == nil {
			pool.settings[key.label] = new(said)
		}
		if s := pool.settings[key.label]; !s.say(text, i) {
			p.ignored[i] = fmt.Sprintf("container %s, which is older, has %s=%s for pool %s, not %s", p.name(s), key.label, s.text, name, text)
		}
	}
}

func (p *plan) at(address string) *listener {
	for _, l := range p.listeners {
		if l.address.text == address {
			return l
		}
	}
	return nil
}

// has reports whether the plan has a listener.
func (p *plan) has(name string) bool {
	return slices.ContainsFunc(p.listeners, func(l *listener) bool { return listenerName(l.address.text) == name })
}

// name returns the name of the oldest container that says something.
func (p *plan) name(s *said) string { return p.containers[s.by[0]].Name }

// warnings returns what is wrong with containers, the oldest first.
func (p *plan) warnings() (texts []string) {
	for i := range p.containers {
		for _, why := range []string{p.refused[i], p.ignored[i]} {
			if why != "" {
				texts = append(texts, "container "+p.containers[i].Name+": "+why)
			}
		}
	}
	return texts
}

// words returns the parts of a label with commas.
func words(text string) (all []string) {
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" && !slices.Contains(all, word) {
			all = append(all, word)
		}
	}
	return all
}
