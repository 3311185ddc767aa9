package configs

import (
	"embed"
	"slices"
)

//go:embed minimal.yaml postgres.yaml patroni.yaml patroni-srv.yaml mysql.yaml tls.yaml nginx.yaml consul.yaml full.yaml
var samples embed.FS

var sampleNames = []string{"minimal", "postgres", "patroni", "patroni-srv", "mysql", "tls", "nginx", "consul", "full"}

// Samples returns the names of the sample files, the simplest first.
func Samples() []string { return slices.Clone(sampleNames) }

// Sample returns a commented configuration that loads as it is. The empty name stands for "minimal".
func Sample(name string) ([]byte, bool) {
	if name == "" {
		name = sampleNames[0]
	}
	if !slices.Contains(sampleNames, name) {
		return nil, false
	}
	data, err := samples.ReadFile(name + ".yaml")
	return data, err == nil
}
