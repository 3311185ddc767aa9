package health

import (
	"slices"
	"testing"
	"time"
)

func TestKindWords(t *testing.T) {
	if got := Kinds(); !slices.Equal(got, []string{"tcp", "off"}) {
		t.Errorf("Kinds() = %v", got)
	}
	for i, word := range Kinds() {
		var k Kind
		if err := k.UnmarshalText([]byte(word)); err != nil || k != Kind(i) || k.String() != word {
			t.Errorf("UnmarshalText(%q) = %v, %v", word, k, err)
		}
		if text, err := k.MarshalText(); err != nil || string(text) != word {
			t.Errorf("MarshalText of %v = %q, %v", k, text, err)
		}
	}
	k := KindOff
	if err := k.UnmarshalText([]byte("ping")); err == nil || err.Error() != `unknown check type "ping": want tcp, off` || k != KindOff {
		t.Errorf("UnmarshalText(ping) = %v, %v", k, err)
	}
	if _, err := Kind(9).MarshalText(); err == nil || Kind(9).String() != "Kind(9)" {
		t.Errorf("Kind(9) is %v, marshal error %v", Kind(9), err)
	}
}

func TestDefaults(t *testing.T) {
	d := DefaultConfig()
	if got := d.withDefaults(); got != d {
		t.Errorf("withDefaults changed the defaults: %+v", got)
	}
	want := d
	want.Jitter, want.Eject.Failures, want.Eject.MaxPercent = 0, 0, 0
	if got := (Config{}).withDefaults(); got != want {
		t.Errorf("zero Config became %+v, want %+v", got, want)
	}
	c := Config{Interval: time.Minute, Timeout: time.Second, Rise: 1, Fall: 1, Jitter: 7}.withDefaults()
	if c.Interval != time.Minute || c.Timeout != time.Second || c.Rise != 1 || c.Fall != 1 || c.Jitter != 1 {
		t.Errorf("settings changed: %+v", c)
	}
}
