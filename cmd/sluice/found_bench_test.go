package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"sluice/configs"
	"sluice/pool"
	"sluice/pool/discovery"
)

// BenchmarkFound is one change of an answer of 10,000 addresses, one in a second, from what the source says to the pool that
// has it: one comes, one vanishes, and one that vanished half a minute ago is removed. 10 ms are 1 % of a core.
func BenchmarkFound(b *testing.B) {
	for _, balance := range []string{"least_conn", "source_hash"} {
		b.Run(balance, func(b *testing.B) {
			w, s := newFoundBench(b, balance, "dns: app:80")
			source := s.source("dns app:80")
			now := time.Now()
			i, before := 0, cpuTime(b)
			for b.Loop() {
				found := make([]discovery.Found, 10_000) // as a source does
				for j := range found {
					found[j].Address = foundAddress(i + j)
				}
				source.say(discovery.Report{Found: found})
				now = now.Add(time.Second)
				w.applyFound(now)
				i++
			}
			b.StopTimer()
			b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(i), "cpu-ms/op")
			if n := len(w.now.Load().pool("p").Backends()); n < 10_000 || n > 10_030 {
				b.Errorf("%d backends", n)
			}
		})
	}
}

// BenchmarkFoundFile is the part of BenchmarkFound that comes before it where the source is a file.
func BenchmarkFoundFile(b *testing.B) {
	type entry struct {
		Address string `json:"address"`
		Weight  int    `json:"weight"`
	}
	list := make([]entry, 10_000)
	for i := range list {
		list[i] = entry{foundAddress(i).String(), 1 + i%7}
	}
	text, err := json.Marshal(list)
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(b.TempDir(), "list.json")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		b.Fatal(err)
	}
	n, before := 0, cpuTime(b)
	defer func() { b.ReportMetric(float64(cpuTime(b)-before)/1e6/float64(n), "cpu-ms/op") }()
	for b.Loop() {
		n++
		data, err := os.ReadFile(path)
		if err != nil {
			b.Fatal(err)
		}
		if found, err := configs.ParseBackends(path, data); err != nil || len(found) != len(list) {
			b.Fatalf("%d are found, %v", len(found), err)
		}
	}
}

// cpuTime returns how long the process has had a CPU, collecting garbage included: other processes take none of that.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func foundAddress(i int) pool.Address {
	return pool.Address{TCP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)}
}

// newFoundBench returns a world whose sources are asked, and in which nothing else happens.
func newFoundBench(b *testing.B, balance, discover string) (*world, *sources) {
	text := fmt.Sprintf(`
log: {level: error, sessions: "off"}
admin: {listen: "", socket: ""}
listeners: {l: {bind: "unix:%s/l", pool: p}}
pools: {p: {balance: %s, check: {type: "off"}, discover: {%s}}}
`, b.TempDir(), balance, discover)
	file, err := configs.Parse("t.yaml", []byte(text))
	if err != nil {
		b.Fatal(err)
	}
	s := new(sources)
	log, out := newLogger(io.Discard, file.Log)
	w, err := newWorld(file, log, out, bindAdvice{source: func(c configs.SourceConfig) discovery.Source { return s.source(c.Key()) }})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.checks.Go(func() { w.watch.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		w.checks.Wait()
		w.release()
		out.close()
	})
	return w, s
}
