package configs

import "testing"

// TestParserPanics is about a bug that the YAML library does not have as far as we know: it must cost a reload, not the
// process.
func TestParserPanics(t *testing.T) {
	parse := func() (err error) {
		defer recovered(&err)
		panic("index out of range")
	}
	d := newDecoder(newSource("a.yaml", []byte("loops: 1")))
	d.syntaxProblem(d.sources[0].at(1, 1), parse())
	const want = "a.yaml:1:1: not valid YAML: the parser does not understand it: index out of range\n  loops: 1\n  ^"
	if got := d.problems.Error(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
