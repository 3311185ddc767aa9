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
	fate   fate

	before map[sample]uint64         // what processes before this one have counted of families that are carried
	note   func(of sample, v uint64) // is told of the samples of families that are carried; nil: nobody is
}

// A sample is one line of a family.
type sample struct {
	family string
	labels labels
}

// A fate says what becomes of what a counter has counted when another process takes over. It goes on in either case: within
// a series Prometheus sees no counter go back.
type fate uint8

const (
	// restored: the package that counts it goes on from where the process before was.
	restored fate = iota + 1
	// carried: that knows nothing of processes before; what they have counted is added here. See Server.Carry.
	carried
)

func (e *exposition) counter(name string, f fate, help string) {
	e.header(name, "counter", help)
	e.fate = f
}

func (e *exposition) gauge(name, help string) { e.header(name, "gauge", help) }

// header begins a family. help must not contain a line break or a backslash.
func (e *exposition) header(name, kind, help string) {
	e.family, e.fate = name, 0
	for _, s := range []string{"# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"} {
		e.WriteString(s)
	}
}

// sample writes one line of the family.
func (e *exposition) sample(l labels, value uint64) {
	if e.fate == carried {
		of := sample{e.family, l}
		if value += e.before[of]; e.note != nil {
			e.note(of, value)
		}
	}
	e.WriteString(e.family)
	e.WriteString(string(l))
	e.WriteByte(' ')
	e.Write(strconv.AppendUint(e.AvailableBuffer(), value, 10))
	e.WriteByte('\n')
}

// seconds is sample for a time, of a gauge.
func (e *exposition) seconds(l labels, value time.Duration) { e.number(l, value.Seconds()) }

// number is sample for a gauge that is no whole number.
func (e *exposition) number(l labels, value float64) {
	e.WriteString(e.family)
	e.WriteString(string(l))
	e.WriteByte(' ')
	e.Write(strconv.AppendFloat(e.AvailableBuffer(), value, 'g', -1, 64))
	e.WriteByte('\n')
}
