package l4

import (
	"bytes"
	"testing"
)

func TestUniqueID(t *testing.T) {
	p := uniqueIDPrefix{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef}
	if got, want := p.of(0x102030405060708).String(), "0123456789abcdef0102030405060708"; got != want {
		t.Errorf("ID %s, want %s", got, want)
	}
	seen := map[uniqueID]bool{}
	const processes, sessions = 100, 100
	for range processes {
		p := newUniqueIDPrefix()
		if bytes.Equal(p[:], make([]byte, len(p))) {
			t.Error("the prefix is not random")
		}
		for session := range uint64(sessions) {
			seen[p.of(session)] = true
		}
	}
	if len(seen) != processes*sessions {
		t.Errorf("%d IDs for %d sessions", len(seen), processes*sessions)
	}
}

func BenchmarkUniqueID(b *testing.B) {
	p := newUniqueIDPrefix()
	b.ReportAllocs()
	for session := uint64(0); b.Loop(); session++ {
		p.of(session)
	}
}
