package handoff

import (
	"slices"
	"strings"
	"testing"

	"sluice/sysutil"
)

// recorded is what version 1.0 put on the wire. It must be read, and within major version 1 written, for ever.
var recorded = []struct {
	kind  Kind
	files int
	body  string
	wire  []string // of each call
}{
	{Hello, 0, `{"major":1}`, []string{"SLHO\x00\x01\x00\x00\x00\x00\x00\x0c\x00\x00\x00\x00{\"major\":1}\n"}},
	{Welcome, 1, `{}`, []string{"SLHO\x00\x02\x00\x01\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Refused, 0, `{"error":"no"}`, []string{"SLHO\x00\x03\x00\x00\x00\x00\x00\x0f\x00\x00\x00\x00{\"error\":\"no\"}\n"}},
	{Failed, 0, `{}`, []string{"SLHO\x00\x04\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Take, 0, `{}`, []string{"SLHO\x00\x05\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{State, 600, `{}`, []string{"SLHO\x00\x06\x00\xfd\x00\x00\x00\x03\x00\x00\x00\x02{}\n",
		"SLHO\x00\x06\x00\xfd\x00\x00\x00\x00\x00\x00\x00\x01", "SLHO\x00\x06\x00\x5e\x00\x00\x00\x00\x00\x00\x00\x00"}},
	{Ready, 0, `{}`, []string{"SLHO\x00\x07\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Accounts, 0, `{}`, []string{"SLHO\x00\x08\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Ack, 0, `{}`, []string{"SLHO\x00\x09\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Batch, 252, `{}`, []string{"SLHO\x00\x0a\x00\xfc\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Go, 0, `{}`, []string{"SLHO\x00\x0b\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Counters, 0, `{}`, []string{"SLHO\x00\x0c\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Over, 0, `{}`, []string{"SLHO\x00\x0d\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Serving, 0, `{}`, []string{"SLHO\x00\x0e\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
	{Farewell, 0, `{}`, []string{"SLHO\x00\x0f\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00{}\n"}},
}

func TestRecordedIsRead(t *testing.T) {
	for _, r := range recorded {
		near, far := socketpair(t)
		m := newMark(t)
		left := r.files
		for _, call := range r.wire {
			some := min(left, 253)
			sendRaw(t, near, []byte(call), repeated(m.write, some)...)
			left -= some
		}
		got, err := New(far).Receive()
		if err != nil {
			t.Fatal(err)
		}
		if got.Kind != r.kind || strings.TrimSpace(string(got.Body)) != r.body || len(got.Files) != r.files {
			t.Errorf("%v: %v %q with %d descriptors", r.kind, got.Kind, got.Body, len(got.Files))
		}
		got.CloseFiles()
		m.checkEnded(t)
	}
}

func TestRecordedIsWritten(t *testing.T) {
	for _, r := range recorded {
		near, far := socketpair(t)
		m := newMark(t)
		if err := New(near).Send(r.kind, raw(r.body), repeated(m.write, r.files)...); err != nil {
			t.Fatal(err)
		}
		near.Close()
		// No read goes beyond bytes that came with descriptors, so that each is told with its frame.
		var got []byte
		var with []int
		for err := error(nil); err == nil; {
			b := make([]byte, headerSize)
			var files []int
			var n int
			n, files, err = sysutil.ReceiveFiles(far, b, nil)
			sysutil.CloseFiles(files)
			got = append(got, b[:n]...)
			if len(files) > 0 {
				with = append(with, len(files))
			}
		}
		if want := strings.Join(r.wire, ""); string(got) != want {
			t.Errorf("%v: %q; want %q", r.kind, got, want)
		}
		var want []int
		for left := r.files; left > 0; left -= 253 {
			want = append(want, min(left, 253))
		}
		if !slices.Equal(with, want) {
			t.Errorf("%v: descriptors came as %v; want %v", r.kind, with, want)
		}
		m.checkEnded(t)
	}
	if len(recorded) != int(kinds)-1 {
		t.Error("a message was never recorded")
	}
}

// raw is JSON as it is.
type raw string

func (r raw) MarshalJSON() ([]byte, error) { return []byte(r), nil }
