package docker

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"sluice/pool"
	"sluice/pool/discovery"
)

// Prefix is how every label begins that is for sluice.
const Prefix = "sluice."

// The labels that a backend is made of.
const (
	LabelPool     = Prefix + "pool"      // of which pool the container is
	LabelNetwork  = Prefix + "network"   // on which its address is taken
	LabelPort     = Prefix + "port"      // that its server listens on
	LabelWeight   = Prefix + "weight"    // share of the sessions
	LabelMaxConns = Prefix + "max_conns" // active connections at most
	LabelBackup   = Prefix + "backup"    // whether it is used only while no other backend is usable
)

// The labels that listeners and pools are made of, by those who want that.
const (
	LabelListen    = Prefix + "listen"     // addresses that clients connect to
	LabelProtocol  = Prefix + "protocol"   // of the listener
	LabelSNI       = Prefix + "sni"        // names for which the pool is
	LabelSendProxy = Prefix + "send_proxy" // what the pool's backends are told of the client
	LabelBalance   = Prefix + "balance"    // how the pool chooses a backend
	LabelCheck     = Prefix + "check"      // how the pool's backends are checked
)

// Labels are all that have a meaning. Others of the prefix are slips of the pen.
var Labels = []string{
	LabelPool, LabelNetwork, LabelPort, LabelWeight, LabelMaxConns, LabelBackup,
	LabelListen, LabelProtocol, LabelSNI, LabelSendProxy, LabelBalance, LabelCheck,
}

// CheckLabels returns what is wrong with the names of a container's labels.
func CheckLabels(labels map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		if !slices.Contains(Labels, name) {
			return fmt.Errorf("label %s is not known: there are %s", name, listed(Labels))
		}
	}
	return nil
}

// settingsOf returns what a container's labels say of its backend.
func settingsOf(labels map[string]string) (s discovery.Settings, err error) {
	if text, ok := labels[LabelWeight]; ok {
		if s.Weight, err = number(LabelWeight, text, 0, pool.MaxWeight); err != nil {
			return s, err
		}
	}
	if text, ok := labels[LabelMaxConns]; ok {
		if s.MaxConns, err = number(LabelMaxConns, text, 0, 1<<31-1); err != nil {
			return s, err
		}
	}
	if text, ok := labels[LabelBackup]; ok {
		backup := text == "true"
		if !backup && text != "false" {
			return s, fmt.Errorf("label %s=%s: want true or false", LabelBackup, text)
		}
		s.Backup = &backup
	}
	return s, nil
}

// number reads a label that is a number.
func number(label, text string, least, most int) (*int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return nil, fmt.Errorf("label %s=%s: want a number from %d to %d", label, text, least, most)
	}
	return &n, nil
}

// ours returns the labels that are for sluice.
func ours(labels map[string]string) map[string]string {
	var own map[string]string
	for name, value := range labels {
		if strings.HasPrefix(name, Prefix) {
			if own == nil {
				own = make(map[string]string)
			}
			own[name] = value
		}
	}
	return own
}

// listed returns words as a sentence has them: "a", "a and b", "a, b and c".
func listed(words []string) string {
	switch last := len(words) - 1; {
	case last < 0:
		return "none"
	case last == 0:
		return words[0]
	default:
		return strings.Join(slices.Clone(words[:last]), ", ") + " and " + words[last]
	}
}
