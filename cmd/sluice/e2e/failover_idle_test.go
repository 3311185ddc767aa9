package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"
)

// An idler is a session that says nothing and waits for its end.
type idler struct {
	ended chan struct{}
	when  time.Time // after ended
}

// openIdlers opens n sessions, half of them with TLS.
func openIdlers(t *testing.T, address string, n int) (idlers []*idler) {
	t.Helper()
	for i := range n {
		idlers = append(idlers, openIdler(t, address, []string{"disable", "require"}[i%2]))
	}
	return idlers
}

func openIdler(t *testing.T, address, sslmode string) *idler {
	t.Helper()
	c, d := connect(t, address, sslmode), &idler{ended: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(d.ended)
		for c.WaitForNotification(ctx) == nil { // nothing that a server says is its end
		}
		d.when = time.Now()
		c.Close(context.Background())
	}()
	t.Cleanup(func() {
		cancel()
		<-d.ended
	})
	return d
}

// untilEnded waits until the server or sluice has ended every session, and returns when the last one was ended.
func untilEnded(t *testing.T, idlers []*idler) (last time.Time) {
	t.Helper()
	for i, d := range idlers {
		until(t, fmt.Sprintf("session %d of %d is ended", i+1, len(idlers)), func() error {
			select {
			case <-d.ended:
				return nil
			default:
				return errors.New("it is open")
			}
		})
		if d.when.After(last) {
			last = d.when
		}
	}
	return last
}
