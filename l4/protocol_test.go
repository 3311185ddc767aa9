package l4

import "testing"

func TestProtocolText(t *testing.T) {
	for _, word := range Protocols() {
		var p Protocol
		if err := p.UnmarshalText([]byte(word)); err != nil || p.String() != word {
			t.Errorf("%q became %v, %v", word, p, err)
		}
		if text, err := p.MarshalText(); err != nil || string(text) != word {
			t.Errorf("%v became %q, %v", p, text, err)
		}
	}
	p := ProtocolPostgres
	if err := p.UnmarshalText([]byte("mysql")); err == nil || p != ProtocolPostgres {
		t.Errorf("an unknown word: %v, %v", p, err)
	}
	if s := Protocol(200).String(); s != "Protocol(200)" {
		t.Errorf("an unknown protocol is called %q", s)
	}
}
