package admin

import (
	"bytes"
	"strconv"
	"time"
)

// exposition writes Prometheus' text format: a family's header, then its samples.
type exposition struct {
	*bytes.Buffer
	family string
}

func (e *exposition) counter(name, help string) { e.header(name, "counter", help) }
func (e *exposition) gauge(name, help string)   { e.header(name, "gauge", help) }

// header begins a family. help must not contain a line break or a backslash.
func (e *exposition) header(name, kind, help string) {
	e.family = name
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"} {
		e.WriteString(s)
	}
}

// sample writes one line of the family.
func (e *exposition) sample(l labels, value uint64) {
	e.WriteString(e.family)
	e.WriteString(string(l))
	e.WriteByte(' ')
	e.Write(strconv.AppendUint(e.AvailableBuffer(), value, 10))
	e.WriteByte('\n')
}

// seconds is sample for a time.
func (e *exposition) seconds(l labels, value time.Duration) {
	e.WriteString(e.family)
	e.WriteString(string(l))
	e.WriteByte(' ')
	e.Write(strconv.AppendFloat(e.AvailableBuffer(), value.Seconds(), 'g', -1, 64))
	e.WriteByte('\n')
}
