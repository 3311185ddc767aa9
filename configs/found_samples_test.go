package configs

import (
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// sourcesOf returns what each pool of a configuration is fed by.
func sourcesOf(t *testing.T, name, text string) (sources []string) {
	t.Helper()
	file, err := parse("/etc/sluice/"+name, []byte(text), noLookup)
	if err != nil {
		t.Fatalf("%s:\n%v", name, err)
	}
	if len(file.Warnings) > 0 {
		t.Errorf("%s: %v", name, file.Warnings)
	}
	for _, p := range file.Pools {
		for _, e := range p.Entries {
			sources = append(sources, p.Config.Name+" "+e.Source.Key())
		}
	}
	return sources
}

// TestSamplesOfSources: the samples say what their comments mean, also those that are within the files of other programs.
func TestSamplesOfSources(t *testing.T) {
	f := func(name, text string, want ...string) {
		t.Helper()
		if got := sourcesOf(t, name, text); !slices.Equal(got, want) {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	consul, _ := Sample("consul")
	f("consul.yaml", string(consul), "web dns _web._tcp.service.consul resolver=127.0.0.1:8600 min_ttl=2s")
	patroni, _ := Sample("patroni-srv")
	f("patroni-srv.yaml", string(patroni), "primary dns _postgresql._tcp.pg.example.com", "replicas dns _postgresql._tcp.pg.example.com")

	var compose struct {
		Configs map[string]struct{ Content string }
	}
	unmarshalSample(t, string(read(t, "compose.yaml")), &compose)
	content := compose.Configs["sluice"].Content
	f("compose.yaml", content, "app dns app:80 max_ttl=2s")
	before, _, _ := strings.Cut(content, "discover:") // as its comment says
	f("compose.yaml by labels", before+"discover: [{docker: {}}]\n", "app docker unix:/var/run/docker.sock pool=app")

	var configMap struct{ Data map[string]string }
	first, _, _ := strings.Cut(string(read(t, "configmap.yaml")), "\n---\n")
	unmarshalSample(t, first, &configMap)
	f("configmap.yaml", configMap.Data["sluice.yaml"], "app file /etc/sluice/app.yaml")
	if found, err := ParseBackends("app.yaml", []byte(configMap.Data["app.yaml"])); err != nil || len(found) != 3 || found[2].Host == "" {
		t.Errorf("found %+v, error %v", found, err)
	}
	f("configmap.yaml by name", strings.Replace(configMap.Data["sluice.yaml"], "{file: /etc/sluice/app.yaml}",
		`{dns: "app.default.svc.cluster.local.:8080"}`, 1), "app dns app.default.svc.cluster.local.:8080")
}

// unmarshalSample reads a file of another program.
func unmarshalSample(t *testing.T, text string, to any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(text), to); err != nil {
		t.Fatal(err)
	}
}
