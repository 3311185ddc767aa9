package handoff

import (
	"net"
	"slices"
	"testing"
)

// TestHook lists the points of one message each way.
func TestHook(t *testing.T) {
	near, far := socketpair(t)
	a, b := New(near), New(far)
	var points []string
	Hook = func(_ *net.UnixConn, p string) { points = append(points, p) }
	defer func() { Hook = nil }()
	if err := a.Send(Batch, note{N: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Expect(Batch, Over); err != nil {
		t.Fatal(err)
	}
	if err := b.Send(Ack, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Receive(); err != nil {
		t.Fatal(err)
	}
	b.Close()
	if _, err := a.Expect(Go); err == nil {
		t.Fatal("a message came of a connection that was closed")
	}
	want := []string{"send batch", "sending batch", "sent batch", "receive batch or over", "received batch",
		"send ack", "sending ack", "sent ack", "receive", "received ack", "receive go"}
	if !slices.Equal(points, want) {
		t.Errorf("%q\nwant %q", points, want)
	}
}

// TestNoHook has points cost nothing.
func TestNoHook(t *testing.T) {
	c := new(Conn)
	if n := testing.AllocsPerRun(100, func() { c.point("send", Batch); c.point("receive", Batch, Over) }); n != 0 {
		t.Errorf("%v allocations at points where nobody stops", n)
	}
}
