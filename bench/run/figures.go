package main

import (
	"fmt"
	"time"

	"sluice/bench/record"
)

// A metric is one column of a table; its text is the column's head.
type metric string

// The metrics and their units. Lower is better but for the rates.
const (
	perSecond   metric = "per second"
	perCPU      metric = "per CPU second"
	p50         metric = "p50 us"
	p99         metric = "p99 us"
	cpuEach     metric = "CPU us each"
	gigabits    metric = "Gbit/s"
	cpuPerGB    metric = "CPU s per GB"
	p99Before   metric = "p99 us before"
	p99Unasked  metric = "p99 us unasked"
	p99Times    metric = "p99 ratio"
	bytesEach   metric = "bytes per session"
	descriptors metric = "descriptors per session"

	asksPerSecond metric = "answers per second"
)

// figures are the results of one measurement.
type figures map[metric]float64

// higherIsBetter tells rates from costs.
func (m metric) higherIsBetter() bool { return m == perSecond || m == perCPU || m == gigabits }

// format writes a value with the precision that the metric deserves.
func (m metric) format(v float64) string {
	switch m {
	case perSecond, perCPU, bytesEach, asksPerSecond:
		return record.Thousands(int64(v + 0.5))
	case gigabits, cpuEach:
		return fmt.Sprintf("%.1f", v)
	case cpuPerGB:
		return fmt.Sprintf("%.3f", v)
	case descriptors, p99Times:
		return fmt.Sprintf("%.2f", v)
	}
	if v < 1000 {
		return fmt.Sprintf("%.1f", v)
	}
	return record.Thousands(int64(v + 0.5))
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
