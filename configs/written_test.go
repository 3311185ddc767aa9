package configs

import (
	"maps"
	"reflect"
	"slices"
	"testing"
)

// equal reports whether two things are what was meant to be read, however it was written.
func equal(got, want any) bool { return reflect.DeepEqual(unwritten(got), unwritten(want)) }

func unwritten(v any) any {
	switch v := v.(type) {
	case *File:
		if v == nil {
			return v
		}
		f := *v
		f.Written = nil
		f.Listeners, _ = unwritten(f.Listeners).([]Listener)
		f.Pools, _ = unwritten(f.Pools).([]Pool)
		return f
	case []Listener:
		v = slices.Clone(v)
		for i := range v {
			v[i].Written = nil
		}
		return v
	case []Pool:
		v = slices.Clone(v)
		for i := range v {
			v[i] = unwritten(v[i]).(Pool)
		}
		return v
	case Listener:
		v.Written = nil
		return v
	case Pool:
		v.Written, v.Entries = nil, slices.Clone(v.Entries)
		for i := range v.Entries {
			v.Entries[i].At = Problem{}
		}
		return v
	}
	return v
}

func TestWritten(t *testing.T) {
	file, err := parse("t.yaml", []byte(`
x-slow: &slow {connect: 9s, dead_peer: 1m}
defaults:
  listeners: {timeouts: {idle: 1h}, max_sessions: 10}
  pools: {retries: 0}
log: {level: warn}
admin: {listen: ""}
listeners:
  web: {bind: [":80", ":81"], timeouts: {fin: 1m}, pool: a}
  tls:
    bind: ":443"
    protocol: tls
    routes: [{sni: [a.example, "*.b.example"], pool: a}]
    max_sessions: 5
    pool: a
pools:
  a: {backends: [10.0.0.1:80], timeouts: {<<: *slow}}
  b: {backends: [10.0.0.2:80], check: {type: http, status: [200, 300-399]}, retries: 1}
`), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	f := func(got, want Written) {
		t.Helper()
		if !maps.Equal(got, want) {
			t.Errorf("got  %v\nwant %v", got, want)
		}
	}
	f(file.Written, Written{"log.level": "warn", "admin.listen": `""`})
	f(file.Listeners[0].Written, Written{
		"bind": "[:80, :81]", "timeouts.fin": "1m", "timeouts.idle": "1h", "max_sessions": "10", "pool": "a",
	})
	f(file.Listeners[1].Written, Written{
		"bind": ":443", "protocol": "tls", "routes": "[{sni: [a.example, *.b.example], pool: a}]", "max_sessions": "5",
		"timeouts.idle": "1h", "pool": "a",
	})
	f(file.Pools[0].Written, Written{"timeouts.connect": "9s", "timeouts.dead_peer": "1m", "retries": "0"})
	f(file.Pools[1].Written, Written{"check.type": "http", "check.status": "[200, 300-399]", "retries": "1"})
}
