package l4

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/sysutil/systest"
)

// crowdVariable makes the test binary a crowd of clients: a process has too few
// descriptors for both ends of ten thousand sessions.
const crowdVariable = "SLUICE_TEST_CROWD"

const crowdSize, crowdWorkers = 10_000, 64

// crowd opens sessions that all have to wait, and says so. When it is told to, every
// other client gives up, in one of several ways; the rest want to be served. In the end
// it says how many were.
func crowd(address string) error {
	conns := make([]*net.TCPConn, crowdSize)
	if err := crowdDo(1, func(i int) error {
		c, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		conns[i] = c.(*net.TCPConn)
		_, err = c.Write(startup)
		return err
	}); err != nil {
		return err
	}
	fmt.Println("waiting")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	var stay sync.WaitGroup
	var served atomic.Int64
	for i := 0; i < crowdSize; i += 2 {
		stay.Go(func() {
			defer conns[i].Close()
			conns[i].SetDeadline(time.Now().Add(patient))
			if err := beServed(conns[i]); err != nil {
				fmt.Fprintf(os.Stderr, "client %d: %v\n", i, err)
				return
			}
			served.Add(1)
		})
	}
	err := crowdDo(2, func(i int) error {
		c := conns[i]
		defer c.Close()
		c.SetDeadline(time.Now().Add(patient))
		switch i % 6 {
		case 1:
			return c.SetLinger(0) // a reset
		case 3:
			c.CloseWrite()
			io.Copy(io.Discard, c)
		}
		return nil
	})
	stay.Wait()
	fmt.Println("served", served.Load())
	return err
}

// crowdDo does something for every client, or for every other, with a few goroutines:
// the race detector has room for 8,128.
func crowdDo(step int, f func(i int) error) error {
	var workers sync.WaitGroup
	errs := make([]error, crowdWorkers)
	for w := range crowdWorkers {
		workers.Go(func() {
			for i := w*step + step - 1; i < crowdSize; i += crowdWorkers * step {
				if err := f(i); err != nil {
					errs[w] = fmt.Errorf("client %d: %w", i, err)
					return
				}
			}
		})
	}
	workers.Wait()
	return errors.Join(errs...)
}

func beServed(c net.Conn) error {
	if err := readLogin(c); err != nil {
		return err
	}
	message := []byte("ping")
	if _, err := c.Write(message); err != nil {
		return err
	}
	if _, err := io.ReadFull(c, message); err != nil {
		return err
	}
	if string(message) != "ping" {
		return errDifferent
	}
	return nil
}

// Ten thousand sessions wait, and half of them give up just when slots come free. All
// others are served, and every counter is exact.
func TestQueueOfTenThousand(t *testing.T) {
	const loops, slots = 3, 20
	before := systest.OpenFiles()
	backends := []*postgresServer{newPostgresServer(t), newPostgresServer(t)}
	p := newQueuePool(t, loops, slots, crowdSize, tcpAddress(backends[0].Addr()), tcpAddress(backends[1].Addr()))
	for _, b := range p.Backends() {
		b.SetUp(false)
	}
	var reported [numReasons]atomic.Uint64
	var waits atomic.Int64
	srv := startServer(t, loops, p, ListenerConfig{
		Protocol: ProtocolPostgres, PeekTimeout: time.Minute, Target: Target{QueueTimeout: time.Minute, ConnectTimeout: patient},
	}, func(e End) {
		reported[e.Reason].Add(1)
		if e.Waited > 0 {
			waits.Add(1)
		}
	})
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crowdVariable+"="+srv.testAddress())
	child.Stderr = os.Stderr
	stdin, stdout := must(child.StdinPipe()), must(child.StdoutPipe())
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	says := bufio.NewScanner(stdout)
	hear := func(want string) {
		t.Helper()
		if !says.Scan() || says.Text() != want {
			t.Fatalf("the crowd says %q, want %q", says.Text(), want)
		}
	}
	hear("waiting")
	eventually(t, "all wait", func() bool { return p.Waiting() == crowdSize })
	for range 10 {
		c := must(net.Dial("tcp", srv.testAddress()))
		c.SetDeadline(time.Now().Add(patient))
		if err := logIn(c); !errors.Is(err, errRefused) || !strings.Contains(err.Error(), "53300") {
			t.Errorf("the queue is full, and a client is told %v", err)
		}
		c.Close()
	}
	if n := p.Waiting(); n != crowdSize {
		t.Errorf("%d wait, want %d", n, crowdSize)
	}
	fmt.Fprintln(stdin, "go")
	for _, b := range p.Backends() {
		b.SetUp(true)
	}
	for range 50 { // and backends come and go
		b := p.Backends()[0]
		b.SetUp(false)
		srv.Redispatch(b)
		if n := b.Stats().Active; n > slots {
			t.Errorf("%d sessions on a backend, want at most %d", n, slots)
		}
		b.SetUp(true)
	}
	hear(fmt.Sprint("served ", crowdSize/2))
	if err := child.Wait(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all sessions have ended", func() bool { return srv.sessionCount() == 0 })

	stats := srv.Stats()
	expectReported(t, stats, &reported)
	const all = crowdSize + 10
	if l := stats.Listeners[0]; l.Accepts != all || endedTotal(stats) != all || l.Sessions != 0 {
		t.Errorf("%d accepts, %d ended, %d open; want %d, %d, 0", l.Accepts, endedTotal(stats), l.Sessions, all, all)
	}
	closed, resets := reported[ClientClosed].Load(), reported[ClientReset].Load()
	if reported[QueueFull].Load() != 10 || closed+resets != crowdSize || resets < crowdSize/10 || closed < crowdSize/2 {
		t.Errorf("%d closed, %d reset, %d found the queue full; want %d together and 10", closed, resets,
			reported[QueueFull].Load(), crowdSize)
	}
	if n := waits.Load(); n != crowdSize {
		t.Errorf("%d sessions have waited, want %d", n, crowdSize)
	}
	if n := p.Waiting(); n != 0 {
		t.Errorf("%d wait in the end", n)
	}
	logins := uint64(0)
	for i, b := range p.Backends() {
		if s := b.Stats(); s.Active != 0 {
			t.Errorf("backend %s has %d active connections in the end", s.Name, s.Active)
		}
		logins += backends[i].keys.Load()
	}
	if logins < crowdSize/2 {
		t.Errorf("%d logins, want at least %d", logins, crowdSize/2)
	}
	if err := srv.Shutdown(context.Background()); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	for _, b := range backends {
		b.stop()
	}
	if n := len(srv.cancelKeys.owners) + srv.pipes.Open(); n != 0 {
		t.Errorf("%d cancel keys and pipes are left", n)
	}
	if left := systest.LeftFiles(before, patient); len(left) > 0 {
		t.Errorf("descriptors left open: %v", left)
	}
	if left := leftGoroutines("l4.TestQueueOfTenThousand("); left != "" {
		t.Errorf("goroutines left running:\n%s", left)
	}
}
