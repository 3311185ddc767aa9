package main

import (
	"fmt"
	"io"
	"strings"

	"sluice/bench/record"
)

// keep prints the result and, after a complete run, writes it to its file.
func keep(o options, root string, e *environment, r *results) (err error) {
	var text strings.Builder
	writeResult(&text, e, r)
	fmt.Fprint(o.stdout, text.String())
	if o.out == "" || o.partial {
		return nil
	}
	name, err := record.Keep(root, o.out, e.name(), text.String())
	if err != nil {
		return err
	}
	fmt.Fprintln(o.stderr, "written to", name)
	return nil
}

func writeResult(w io.Writer, e *environment, r *results) {
	e.write(w)
	writeRatios(w, r)
	writeTargets(w, r)
	writeFailures(w, r)
	writeTables(w, r)
	fmt.Fprintf(w, "\\* the variant of HAProxy that counts. PROXY rows: v2; nginx's stream module can only send v1. "+
		"io.Copy is held to %d idle sessions, for it has 6 descriptors in each.\n", ioCopyIdle)
}
