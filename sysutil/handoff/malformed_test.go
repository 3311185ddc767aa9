package handoff

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
	"unsafe"

	"sluice/sysutil"
	"sluice/sysutil/systest"
)

// TestMalformed sends what is not a message. Each is refused, with what it says, and no descriptor is left.
func TestMalformed(t *testing.T) {
	type part struct {
		bytes []byte
		files int
	}
	ok := frame{kind: Batch, files: 1, size: 2}
	with := func(change func(*frame)) frame { f := ok; change(&f); return f }
	for name, c := range map[string]struct {
		parts []part
		says  string
	}{
		"other magic":            {[]part{{append([]byte("HTTP"), rawFrame(ok, "{}")[4:]...), 1}}, `starts with "HTTP"`},
		"no kind":                {[]part{{rawFrame(with(func(f *frame) { f.kind = 0 }), "{}"), 1}}, "has no kind 0"},
		"kind of later":          {[]part{{rawFrame(with(func(f *frame) { f.kind = kinds }), "{}"), 1}}, "1.0 has no kind 16"},
		"too many files":         {[]part{{rawFrame(with(func(f *frame) { f.files = 254 }), "{}"), 253}}, "254 descriptors in a frame"},
		"too long":               {[]part{{rawFrame(with(func(f *frame) { f.size = MaxBody + 1 }), "{}"), 1}}, "has 67108865 bytes"},
		"length of 32 bits":      {[]part{{rawFrame(with(func(f *frame) { f.size = 1<<32 - 1 }), "{}"), 1}}, "has 4294967295 bytes"},
		"frames without end":     {[]part{{rawFrame(with(func(f *frame) { f.more = 1<<32 - 1 }), "{}"), 1}}, "4294967295 frames more"},
		"one frame too many":     {[]part{{rawFrame(with(func(f *frame) { f.more = maxFrames }), "{}"), 1}}, "260 frames more"},
		"a file too few":         {[]part{{rawFrame(ok, "{}"), 0}}, "has 1 descriptors, and 0 came"},
		"a file too many":        {[]part{{rawFrame(ok, "{}"), 2}}, "has 1 descriptors, and 2 came"},
		"files in the body":      {[]part{{rawFrame(ok, "{"), 1}, {[]byte("}"), 1}}, "where at most 0 may"},
		"files twice in a head":  {[]part{{rawFrame(ok, "{}")[:5], 200}, {rawFrame(ok, "{}")[5:], 200}}, "where at most 253 may"},
		"same count again":       {[]part{{rawFrame(with(func(f *frame) { f.more = 1 }), "{}"), 1}, {rawFrame(with(func(f *frame) { f.more = 1 }), "{}"), 1}}, "batch with 1 frames to come behind batch with 1"},
		"another message inside": {[]part{{rawFrame(with(func(f *frame) { f.more = 1 }), "{}"), 1}, {rawFrame(with(func(f *frame) { f.kind = Go }), "{}"), 1}}, "go with 0 frames"},
		"together too long": {[]part{{rawFrame(with(func(f *frame) { f.more = 1 }), "{}"), 1},
			{rawFrame(with(func(f *frame) { f.size = MaxBody - 1 }), "{}"), 1}}, "has more than 67108864 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			near, far := socketpair(t)
			m := newMark(t)
			for _, p := range c.parts {
				sendRaw(t, near, p.bytes, repeated(m.write, p.files)...)
			}
			b := New(far)
			_, err := b.Receive()
			if !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want %q", err, c.says)
			}
			if _, again := b.Receive(); again != err {
				t.Errorf("then %v", again)
			}
			b.Close()
			m.checkEnded(t)
		})
	}
}

// TestTooManyFiles has 260 frames that are good one by one and have more descriptors together than a message may.
func TestTooManyFiles(t *testing.T) {
	if MaxFiles+sysutil.MaxPassed > maxFrames*sysutil.MaxPassed+sysutil.MaxPassed {
		t.Fatal("the frames bound the descriptors")
	}
	a := assembly{m: Message{Files: make([]int, MaxFiles)}}
	near, far := socketpair(t)
	m := newMark(t)
	sendRaw(t, near, rawFrame(frame{kind: State, files: 1}, ""), m.write)
	a.c = New(far)
	if _, err := a.readFrame(); !errors.Is(err, ErrFrame) || !strings.Contains(err.Error(), "more than 65536 descriptors") {
		t.Error(err)
	}
	a.m.Files = nil
	a.close()
	m.checkEnded(t)
}

// twoFrames is a message of two frames with descriptors, and where the second begins.
func twoFrames() (b []byte, second int) {
	b = rawFrame(frame{kind: Batch, files: 2, size: 3, more: 1}, `{"n`)
	second = len(b)
	return append(b, rawFrame(frame{kind: Batch, files: 1, size: 5}, `":42}`)...), second
}

// sendCut sends the first n bytes of twoFrames with the descriptors that belong to them.
func sendCut(t *testing.T, c *net.UnixConn, m *mark, n int) {
	t.Helper()
	b, second := twoFrames()
	if n > 0 {
		sendRaw(t, c, b[:min(n, second)], repeated(m.write, 2)...)
	}
	if n > second {
		sendRaw(t, c, b[second:n], m.write)
	}
}

// TestCut ends the connection behind every byte of a message.
func TestCut(t *testing.T) {
	b, _ := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		sendCut(t, near, m, n)
		near.Close()
		_, err := New(far).Receive()
		if n == 0 && err != io.EOF || n > 0 && !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("cut after %d: %v", n, err)
		}
		m.checkEnded(t)
	}
}

// TestDeadline lets a deadline pass behind every byte of a message. Between two messages nothing is lost by it.
func TestDeadline(t *testing.T) {
	b, _ := twoFrames()
	for n := range b {
		near, far := socketpair(t)
		m := newMark(t)
		sendCut(t, near, m, n)
		c := New(far)
		received := make(chan error, 1)
		go func() {
			_, err := c.Receive()
			received <- err
		}()
		if !systest.Wait(patient, func() bool { return unread(t, far) == 0 }) {
			t.Fatalf("%d bytes were not read", n)
		}
		if err := c.SetDeadline(time.Unix(1, 0)); err != nil {
			t.Fatal(err)
		}
		err := <-received
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("after %d: %v", n, err)
		}
		if err := c.SetDeadline(time.Now().Add(patient)); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			if _, again := c.Receive(); again != err {
				t.Errorf("after %d, then %v", n, again)
			}
		} else {
			sendCut(t, near, m, len(b))
			got, err := c.Receive()
			if err != nil || string(got.Body) != `{"n":42}` || len(got.Files) != 3 {
				t.Fatalf("after a deadline between messages: %+v, %v", got, err)
			}
			got.CloseFiles()
		}
		c.Close()
		m.checkEnded(t)
	}
}

// unread is how many bytes lie in a socket. See FIONREAD in unix(7).
func unread(t *testing.T, c *net.UnixConn) (n int32) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n))); errno != 0 {
			t.Fatal(errno)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestByteByByte sends every byte on its own: descriptors come with the first of their header.
func TestByteByByte(t *testing.T) {
	near, far := socketpair(t)
	m := newMark(t)
	go func() {
		b, second := twoFrames()
		for i := range b {
			files := map[int]int{0: 2, second: 1}[i]
			if err := sysutil.SendFiles(near, b[i:i+1], repeated(m.write, files)); err != nil {
				t.Error(err)
			}
		}
	}()
	got, err := New(far).Receive()
	if err != nil || string(got.Body) != `{"n":42}` || len(got.Files) != 3 {
		t.Fatalf("%+v, %v", got, err)
	}
	for _, fd := range got.Files {
		checkFile(t, fd, m)
	}
	got.CloseFiles()
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
	for _, kind := range []Kind{Failed, Refused} {
		send(kind, PeerError{Text: "line 3: no such pool"})
		var why *PeerError
		if _, err := b.Expect(Ready); !errors.As(err, &why) || *why != (PeerError{kind, "line 3: no such pool"}) {
			t.Errorf("%v: %v", kind, err)
		} else if err.Error() != "the other process says "+kind.String()+": line 3: no such pool" {
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
