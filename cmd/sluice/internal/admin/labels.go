package admin

import (
	"strings"

	"sluice/pool"
)

// labels is a label set as it stands in the text format, braces included: {pool="web",backend="a"}.
type labels string

// escaper writes a label value as the text format wants it: see "Comments, help text, and type information" in
// Prometheus' "Exposition formats". Go's %q would escape more than a reader undoes.
var escaper = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labelled makes a label set of names and values in turn.
func labelled(namesAndValues ...string) labels {
	var b strings.Builder
	for i := 0; i < len(namesAndValues); i += 2 {
		b.WriteByte("{,"[min(i, 1)])
		b.WriteString(namesAndValues[i])
		b.WriteString(`="`)
		b.WriteString(escaper.Replace(namesAndValues[i+1]))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return labels(b.String())
}

func backendLabels(b *pool.Backend) labels {
	return labelled("pool", b.Pool().Name(), "backend", b.Name())
}
