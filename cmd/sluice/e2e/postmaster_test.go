package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// postmasterConfig is two servers, either of which will do.
const postmasterConfig = `
listeners:
  db: {bind: "127.0.0.1:0", protocol: postgres, pool: db}
pools:
  db:
    queue: {max: 1024, timeout: 60s}
    check: {interval: 200ms, fast_interval: 100ms, down_interval: 200ms, rise: 1, timeout: 30s}
    eject: {failures: 0}
    backends: [{name: pg1, address: "127.0.0.1:%d"}, {name: pg2, address: "127.0.0.1:%d"}]
`

// When only the postmaster is killed, or the server is shut down, the server processes that let clients in say so before
// they end, or say nothing. No client that asks for no password hears of it: another server answers.
func TestPostmasterKilled(t *testing.T) {
	t.Parallel()
	var members [2]*member
	for i := range members {
		members[i] = newMember(t, fmt.Sprint("pg", i+1))
		initPrimary(t, members[i])
		members[i].start()
	}
	r := startSluice(t, fmt.Sprintf(postmasterConfig, members[0].port, members[1].port))
	address := r.address("db")
	var asking sync.WaitGroup
	var over atomic.Bool
	var answers atomic.Int64
	for range 12 {
		asking.Go(func() {
			for !over.Load() {
				if err := login(address); err != nil {
					t.Error(err)
					return
				}
				answers.Add(1)
			}
		})
	}
	for i := range 4 {
		m := members[i%2]
		from := answers.Load()
		until(t, "sessions begin", func() error { return atLeast(answers.Load(), from+50) })
		if i < 2 {
			m.killPostmaster()
		} else {
			m.shutDown()
		}
		m.start()
		r.untilUsable(m.name, true)
	}
	over.Store(true)
	asking.Wait()
	exchanged := 0
	for _, s := range r.sessions() {
		exchanged += min(int(s.Retries), 1)
	}
	t.Logf("%d sessions, %d of them after a server that failed them", answers.Load(), exchanged)
}

func atLeast(n, want int64) error {
	if n < want {
		return fmt.Errorf("%d, want %d", n, want)
	}
	return nil
}

// killPostmaster kills the postmaster alone, and waits until its children have noticed.
func (m *member) killPostmaster() {
	m.t.Helper()
	family := m.family()
	m.kill()
	until(m.t, "the children of "+m.name+" have ended", func() error {
		for _, id := range family {
			if err := syscall.Kill(id, 0); !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("process %d has not", id)
			}
		}
		return nil
	})
	os.Remove(m.data + "/postmaster.pid") // its process id may be somebody else's by now
}

// login logs in without a password, and fails unless the server says that it is ready. Up to there it says everything
// at once, so that it can be exchanged to the last.
func login(address string) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(2 * patient))
	packet := append([]byte{0, 0, 0, 0, 0, 3, 0, 0}, "user\x00postgres\x00database\x00postgres\x00\x00"...)
	binary.BigEndian.PutUint32(packet, uint32(len(packet)))
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	for head := make([]byte, 5); head[0] != 'Z'; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return fmt.Errorf("log in: %w", err)
		}
		body := make([]byte, min(binary.BigEndian.Uint32(head[1:])-4, 8<<10))
		if _, err := io.ReadFull(conn, body); err != nil || head[0] == 'E' {
			return fmt.Errorf("log in: message %c, %v: %s", head[0], err, strings.ReplaceAll(string(body), "\x00", " "))
		}
	}
	_, _ = conn.Write([]byte{'X', 0, 0, 0, 4}) // Terminate
	_, _ = io.Copy(io.Discard, conn)           // what a server that dies says from here on is between the two of them
	return nil
}
