package l4

import (
	"net"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// A peer that sends all the time and does not read is there: it must not be given up.
func TestPeerThatTalksAndDoesNotRead(t *testing.T) {
	const limit = time.Second
	ends := make(chan End, 10)
	back := listenTCP(t, "127.0.0.1:0")
	p := newPool(t, 1, 0, tcpAddress(back.Addr()))
	srv := startServer(t, 1, p, ListenerConfig{DeadPeer: limit, Target: Target{DeadPeer: limit}}, func(e End) { ends <- e })
	defer shutDown(t, srv)
	c := must(net.Dial("tcp", srv.testAddress())).(conn)
	s := must(back.Accept()).(conn)
	defer c.Close()
	defer s.Close()
	chunk, buf := make([]byte, 256<<10), make([]byte, 100)
	for began := time.Now(); time.Since(began) < 3*limit; {
		trySend(s, chunk)
		trySend(c, []byte("x"))
		receiveNow(s, buf)
		systest.Wait(20*time.Millisecond, func() bool { return false })
		select {
		case e := <-ends:
			t.Fatalf("ended after %v: %+v", time.Since(began), e)
		default:
		}
	}
}
