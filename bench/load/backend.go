package load

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"sync/atomic"

	"sluice/sysutil"
)

// A BackendConfig says where a Backend listens.
type BackendConfig struct {
	Listen []netip.AddrPort // port 0: the kernel chooses
	Loops  int              // event loops for exchanges, and as many for streams; 0 means 1
	Proxy  bool             // every connection starts with a PROXY header, v1 or v2
	// OnError, unless nil, is told of wrong bytes from a client; it is called
	// on a loop. The session is reset, so the client's side fails as well.
	OnError func(error)
}

// A Backend answers the sessions of a generator.
type Backend struct {
	addrs     []netip.AddrPort
	listeners []int
	loops     []*backendLoop // those for exchanges first
	streams   []*backendLoop // the rest
	next      atomic.Uint32  // stream loop that gets the next stream
	stop      atomic.Bool
	live      sync.WaitGroup
}

// StartBackend listens and serves until Close.
func StartBackend(cfg BackendConfig) (_ *Backend, err error) {
	b := new(Backend)
	defer func() {
		if err != nil {
			b.release()
		}
	}()
	for _, ap := range cfg.Listen {
		if err := b.listen(ap); err != nil {
			return nil, err
		}
	}
	n := max(cfg.Loops, 1)
	for range 2 * n {
		l, err := newBackendLoop(b, cfg)
		if err != nil {
			return nil, err
		}
		b.loops = append(b.loops, l)
	}
	b.streams = b.loops[n:]
	for _, l := range b.loops[:n] {
		if err := l.watchListeners(b.listeners); err != nil {
			return nil, err
		}
	}
	for _, l := range b.loops {
		b.live.Go(l.serve)
	}
	return b, nil
}

func (b *Backend) listen(ap netip.AddrPort) error {
	fd, err := sysutil.ListenTCP(ap)
	if err != nil {
		return fmt.Errorf("listen on %v: %w", ap, err)
	}
	b.listeners = append(b.listeners, fd)
	addr, errno := sysutil.LocalAddr(fd)
	if errno != 0 {
		return fmt.Errorf("listen on %v: %w", ap, errno)
	}
	b.addrs = append(b.addrs, addr)
	return nil
}

// Addrs returns where the backend listens, in the order of the config.
func (b *Backend) Addrs() []netip.AddrPort { return b.addrs }

// Close ends every session and waits for the loops.
func (b *Backend) Close() error {
	if b.stop.Swap(true) {
		return errors.New("close backend: closed already")
	}
	for _, l := range b.loops {
		l.waker.Wake()
	}
	b.live.Wait()
	b.release()
	return nil
}

func (b *Backend) release() {
	for _, fd := range b.listeners {
		sysutil.Close(fd)
	}
	for _, l := range b.loops {
		l.poller.Close()
		l.waker.Close()
	}
}

// streamLoop picks the loop for the next stream.
func (b *Backend) streamLoop() *backendLoop {
	return b.streams[b.next.Add(1)%uint32(len(b.streams))]
}
