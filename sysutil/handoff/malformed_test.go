package handoff

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// TestMalformed sends what is not a message. Each is refused, with what it says, and no descriptor is left.
func TestMalformed(t *testing.T) {
	// A frame that is good but for one thing; its body is "{}", and one descriptor comes with it.
	bad := func(change func(*frame)) piece {
		f := frame{kind: Batch, files: 1, size: 2}
		change(&f)
		return piece{rawFrame(f, "{}"), 1}
	}
	patched := func(at int, text string) piece {
		p := bad(func(*frame) {})
		copy(p.bytes[at:], text)
		return p
	}
	good := bad(func(*frame) {}).bytes
	first := bad(func(f *frame) { f.more = 1 }) // another one is to follow
	for says, pieces := range map[string][]piece{
		`starts with "HTTP"`:                              {patched(0, "HTTP")},
		"1.1 has no kind 0":                               {bad(func(f *frame) { f.kind = 0 })},
		"1.1 has no kind 16":                              {bad(func(f *frame) { f.kind = kinds })},
		"batch has 254 descriptors in a frame":            {bad(func(f *frame) { f.files = 254 })},
		"batch has 67108865 bytes":                        {bad(func(f *frame) { f.size = MaxBody + 1 })},
		"batch has 4294967295 bytes":                      {patched(8, "\xff\xff\xff\xff")},
		"batch has 260 frames more":                       {bad(func(f *frame) { f.more = maxFrames })},
		"batch has 4294967295 frames more":                {patched(12, "\xff\xff\xff\xff")},
		"has 1 descriptors, and 0 came":                   {{good, 0}},
		"has 1 descriptors, and 2 came":                   {{good, 2}},
		"came where at most 0 may":                        {{good[:17], 1}, {good[17:], 1}},
		"came where at most 253 may":                      {{good[:5], 200}, {good[5:], 200}},
		"batch with 1 frames to come behind batch with 1": {first, first},
		"go with 0 frames to come behind batch with 1":    {first, bad(func(f *frame) { f.kind = Go })},
		"batch has more than 67108864 bytes":              {first, bad(func(f *frame) { f.size = MaxBody - 1 })},
	} {
		t.Run(says, func(t *testing.T) {
			near, far := socketpair(t)
			m := newMark(t)
			for _, p := range pieces {
				sendRaw(t, near, p.bytes, repeated(m.write, p.files)...)
			}
			b := New(far)
			_, err := b.Receive()
			if !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), says) {
				t.Fatalf("%v; want %q", err, says)
			}
			if _, again := b.Receive(); fmt.Sprint(again) != err.Error() {
				t.Errorf("then %v", again)
			}
			b.Close()
			m.checkEnded(t)
		})
	}
}

// TestTooManyFiles has 260 frames that are good one by one, and have more descriptors together than a message may.
func TestTooManyFiles(t *testing.T) {
	near, far := socketpair(t)
	m := newMark(t)
	a := assembly{m: Message{Files: make([]int, MaxFiles)}} // as if they had come
	sendRaw(t, near, rawFrame(frame{kind: State, files: 1}, ""), m.write)
	if err := a.read(far); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "more than 65536 descriptors") {
		t.Error(err)
	}
	a.m.Files = nil
	a.close()
	m.checkEnded(t)
}

// TestExpect has Expect told apart what was asked for, what was not, and what the peer has to say.
func TestExpect(t *testing.T) {
	near, far := socketpair(t)
	a, b := New(near), New(far)
	m := newMark(t)
	send := func(kind Kind, body any) {
		t.Helper()
		if err := a.Send(kind, body, m.write); err != nil {
			t.Fatal(err)
		}
	}
	send(Ack, nil)
	if got, err := b.Expect(Ready, Ack); err != nil || got.Kind != Ack {
		t.Errorf("an ack: %+v, %v", got, err)
	} else {
		got.CloseFiles()
	}
	send(Go, nil)
	if _, err := b.Expect(Batch, Over); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "expected batch or over, and go came") {
		t.Errorf("another one: %v", err)
	}
	for kind, says := range map[Kind]string{Failed: "gives up", Refused: "refuses"} {
		send(kind, PeerError{Text: "line 3: no such pool"})
		var why *PeerError
		if _, err := b.Expect(Ready); !errors.As(err, &why) || why.Kind != kind || why.Text != "line 3: no such pool" {
			t.Errorf("%v: %v", kind, err)
		} else if err.Error() != "the other process "+says+": line 3: no such pool" {
			t.Errorf("%v reads %q", kind, err)
		}
	}
	send(Failed, 7)
	if _, err := b.Expect(Failed); !errors.Is(err, ErrFrame) {
		t.Errorf("a reason that is none: %v", err)
	}
	send(Serving, nil) // the connection goes on after all that
	if got, err := b.Expect(Serving); err != nil {
		t.Error(err)
	} else {
		got.CloseFiles()
	}
	m.checkEnded(t)
}
