package health

import (
	"reflect"
	"regexp"
	"testing"
	"time"

	"sluice/health/probe"
	"sluice/pool"
)

var testAddress = pool.Address{Unix: "/a"}

// Every field of a probe is part of the key: one that was left out would let pools share answers to other questions.
func TestKeyKnowsEveryField(t *testing.T) {
	var fields func(v reflect.Value, path string, change func(path string))
	c := DefaultConfig()
	fields = func(v reflect.Value, path string, try func(path string)) {
		switch {
		case v.Type() == reflect.TypeFor[pool.Address]():
			v.Set(reflect.ValueOf(pool.Address{Unix: "/other"}))
			try(path)
		case v.Kind() == reflect.Struct:
			for i := range v.NumField() {
				fields(v.Field(i), path+"."+v.Type().Field(i).Name, try)
			}
		default:
			setOther(t, v, path)
			try(path)
		}
		v.SetZero()
	}
	before := wayOf(&c).keyOf(testAddress)
	c.Probe = probe.Config{}
	zero := wayOf(&c).keyOf(testAddress)
	if before != zero {
		t.Fatal("the default probe is not the zero one")
	}
	n := 0
	fields(reflect.ValueOf(&c.Probe).Elem(), "Probe", func(path string) {
		n++
		if wayOf(&c).keyOf(testAddress) == zero {
			t.Errorf("%s is not part of the key", path)
		}
	})
	if n < 15 {
		t.Errorf("%d fields were tried, want all", n)
	}
}

// setOther gives a field of a probe a value that is not zero.
func setOther(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	switch v.Kind() {
	case reflect.Bool:
		v.SetBool(true)
	case reflect.String:
		v.SetString("other")
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		v.SetUint(3)
	case reflect.Int, reflect.Int64:
		v.SetInt(3)
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case reflect.Map: // which %#v writes in the order of the keys
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("other"), reflect.ValueOf("other"))
	default:
		t.Fatalf("%s is a %v: say how it is part of the key", path, v.Kind())
	}
}

func TestKey(t *testing.T) {
	base := DefaultConfig()
	f := func(same bool, change func(c *Config)) {
		t.Helper()
		c := base
		change(&c)
		if got := wayOf(&c).keyOf(testAddress) == wayOf(&base).keyOf(testAddress); got != same {
			t.Errorf("same key: %v, want %v: %+v", got, same, c)
		}
	}
	f(true, func(*Config) {})
	f(true, func(c *Config) { c.Role = RolePrimary })
	f(true, func(c *Config) { c.MaxLag = time.Second })
	f(true, func(c *Config) { c.OnDown = OnDown{} })
	f(true, func(c *Config) { c.Eject = EjectConfig{} })
	f(false, func(c *Config) { c.Interval++ })
	f(false, func(c *Config) { c.FastInterval++ })
	f(false, func(c *Config) { c.DownInterval++ })
	f(false, func(c *Config) { c.Timeout++ })
	f(false, func(c *Config) { c.Rise++ })
	f(false, func(c *Config) { c.Fall++ })
	f(false, func(c *Config) { c.Jitter += 0.1 })
	f(false, func(c *Config) { c.Probe.Kind = probe.TLS })
	if wayOf(&base).keyOf(testAddress) == wayOf(&base).keyOf(pool.Address{Unix: "/b"}) {
		t.Error("two addresses have one key")
	}
}

func TestKeyComparesWhatPointersPointTo(t *testing.T) {
	f := func(same bool, a, b probe.Config) {
		t.Helper()
		if got := wayOf(&Config{Probe: a}).keyOf(testAddress) == wayOf(&Config{Probe: b}).keyOf(testAddress); got != same {
			t.Errorf("same key: %v, want %v: %+v and %+v", got, same, a, b)
		}
	}
	tls := func(file string) probe.Config {
		return probe.Config{Kind: probe.TLS, TLS: probe.TLSConfig{CAFile: file}}
	}
	f(true, tls("ca.pem"), tls("ca.pem"))
	f(false, tls("ca.pem"), tls("other.pem"))
	steps := func(send, pattern string) probe.Config {
		step := probe.Step{Send: []byte(send), Pattern: regexp.MustCompile(pattern)}
		return probe.Config{Kind: probe.Expect, Steps: []probe.Step{step}}
	}
	headers := func(value string) probe.Config {
		fields := make(map[string]string)
		for _, name := range []string{"A", "B", "C", "D", "E", "F", "G", "H", "I"} {
			fields[name] = value
		}
		return probe.Config{Kind: probe.HTTP, HTTP: probe.HTTPConfig{Headers: fields}}
	}
	f(true, headers("x"), headers("x"))
	f(false, headers("x"), headers("y"))
	f(true, steps("PING", "PONG"), steps("PING", "PONG"))
	f(false, steps("PING", "PONG"), steps("PING", "PANG"))
	f(false, steps("PING", "PONG"), steps("ECHO", "PONG"))
	f(false, probe.Config{Steps: make([]probe.Step, 1)}, probe.Config{Steps: make([]probe.Step, 2)})
}
