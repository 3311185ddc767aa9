package labels

import (
	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// served returns for which pools of an engine's containers, as their labels have them, there is a listener.
func served(file *configs.File, socket string) map[string]bool {
	used := make(map[string]bool)
	for _, l := range file.Listeners {
		used[l.Pool] = true
		for _, r := range l.Routes {
			used[r.Pool] = true
		}
	}
	all := make(map[string]bool)
	for i := range file.Pools {
		p := &file.Pools[i]
		for _, e := range p.Entries {
			if d := e.Source.Docker; d != nil && d.Socket == socket && used[p.Config.Name] {
				all[d.Pool] = true
			}
		}
	}
	return all
}

// idle returns, as warnings, which containers are of a pool that is not served. Those whose labels are for a listener are
// told otherwise what is wrong with them.
func idle(containers []docker.Container, served map[string]bool) (texts []string) {
	for i := range containers {
		c := &containers[i]
		pool := c.Labels[docker.LabelPool]
		if pool != "" && !served[pool] && !concerned(c) && docker.CheckLabels(c.Labels) == nil {
			texts = append(texts, "container "+c.Name+": no listener is for pool "+pool+
				": say where clients connect with the label "+docker.LabelListen+", or with a listener of the configuration")
		}
	}
	return texts
}
