package l4

import (
	"context"
	"errors"
	"net"
	"testing"
)

// A server is shut down while a batch is on its way: it waits for that. What comes back goes on, and is cut when all others
// are, or were meanwhile.
func TestShutdownWithFrozenBatch(t *testing.T) {
	const many = 4 // so that both loops have some
	f := func(name string, cut, endAll bool, then func(b *Batch)) {
		t.Run(name, func(t *testing.T) {
			backend := newEcho(t)
			defer backend.stop()
			ended := make(chan End, many)
			srv := startServer(t, 2, newPool(t, 2, 0, tcpAddress(backend.Addr())), ListenerConfig{}, func(e End) { ended <- e })
			var open []net.Conn
			for range many {
				c := dialEcho(t, srv)
				defer c.Close()
				open = append(open, c)
			}
			d := depart(t, srv)
			b := must(d.Next(false))
			frozen, gone := len(b.sessions), 0
			ctx, stop := context.WithCancelCause(t.Context())
			defer stop(nil)
			over := make(chan error, 1)
			go func() { over <- srv.Shutdown(ctx) }()
			eventually(t, "it takes nobody any more", func() bool { return srv.listeners()[0].leaving.Load() })
			want := ClientClosed
			if cut {
				want = Shutdown
				stop(errors.New("enough"))
				for range many - frozen { // of the second loop: the first one has been told before
					if e := <-ended; e.Reason != want {
						t.Errorf("a session ended with %v", e.Reason)
					}
				}
			}
			if endAll {
				srv.EndAll()
				<-srv.life.Done()
			}
			if then(b); len(b.sessions) != 0 {
				t.Error("it is still a batch")
			}
			if n := srv.sessionCount(); n != many && !cut {
				gone = many - n
			}
			for i, c := range open {
				if !cut && gone == 0 {
					exchange(t, c, "goes on")
				}
				if !cut {
					open[i].Close()
				}
			}
			if err := <-over; (err != nil) != cut {
				t.Errorf("shut down with %v", err)
			}
			d.Finish()
			if n := srv.sessionCount(); n != 0 {
				t.Errorf("%d sessions are left", n)
			}
			close(ended)
			for e := range ended {
				if e.Reason != want {
					t.Errorf("a session ended with %v, want %v", e.Reason, want)
				}
			}
		})
	}
	f("comes back", false, false, (*Batch).Return)
	f("has gone", false, false, func(b *Batch) { b.Commit(nil) })
	f("comes back when all is cut", true, false, (*Batch).Return)
	f("has gone when all is cut", true, false, func(b *Batch) { b.Commit(nil) })
	f("comes back to nobody", true, true, (*Batch).Return)
}
