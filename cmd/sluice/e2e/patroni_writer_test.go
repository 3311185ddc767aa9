package e2e

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// patroniWriteEvery is the time between two connections of a writer.
	patroniWriteEvery = 100 * time.Millisecond
	// patroniPatience is how long one of them has, from the connect to its row.
	patroniPatience = 2 * patient
	// patroniTable is what writers write to. Each row says which server has accepted it.
	patroniTable = "create table writes (key text primary key, host text default host(inet_server_addr()))"
)

// A patroniWriter opens a connection again and again, at a steady pace, and writes one row through each.
type patroniWriter struct {
	name    string
	address string
	stop    chan struct{}
	done    sync.WaitGroup

	mu     sync.Mutex // guards all writes
	writes []*patroniWrite
}

// A patroniWrite is one connection of a writer. What it did not reach is zero.
type patroniWrite struct {
	key       string
	sslmode   string
	opened    time.Time // began to connect
	connected time.Time // a server has let it in
	host      string    // which one
	written   time.Time // the row is committed
	err       error
	over      bool
}

// startWriter writes until the test or end ends it.
func startWriter(t *testing.T, name, address string) *patroniWriter {
	t.Helper()
	w := &patroniWriter{name: name, address: address, stop: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	w.done.Go(func() { w.run(ctx) })
	t.Cleanup(func() {
		cancel()
		w.end()
	})
	return w
}

func (w *patroniWriter) run(ctx context.Context) {
	pace := time.NewTicker(patroniWriteEvery)
	defer pace.Stop()
	for i := 0; ; i++ {
		sslmode := []string{"disable", "require"}[i%2]
		one := &patroniWrite{key: fmt.Sprintf("%s %d", w.name, i), sslmode: sslmode, opened: time.Now()}
		w.set(func() { w.writes = append(w.writes, one) })
		w.done.Go(func() {
			err := w.write(ctx, one)
			w.set(func() { one.err, one.over = err, true })
		})
		select {
		case <-pace.C:
		case <-w.stop:
			return
		}
	}
}

func (w *patroniWriter) set(change func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change()
}

// write is the life of one connection.
func (w *patroniWriter) write(ctx context.Context, one *patroniWrite) error {
	ctx, cancel := context.WithTimeout(ctx, patroniPatience)
	defer cancel()
	c, err := pgconn.Connect(ctx, clientConninfo(w.address, one.sslmode))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer c.Close(ctx)
	w.set(func() { one.connected = time.Now() })
	results, err := c.Exec(ctx, "select host(inet_server_addr())").ReadAll()
	if err != nil {
		return fmt.Errorf("ask for the server: %w", err)
	}
	w.set(func() { one.host = string(results[0].Rows[0][0]) })
	if _, err := c.Exec(ctx, fmt.Sprintf("insert into writes (key) values ('%s')", one.key)).ReadAll(); err != nil {
		return fmt.Errorf("insert: %w", err)
	}
	w.set(func() { one.written = time.Now() })
	return nil
}

// untilWritten waits until n rows are written by connections that were opened after a time. That takes at most as long
// as a connection has.
func (w *patroniWriter) untilWritten(t *testing.T, n int, after time.Time) {
	t.Helper()
	for deadline := time.Now().Add(patroniPatience); ; time.Sleep(pollEvery) {
		written := 0
		var last error
		w.set(func() {
			for _, one := range w.writes {
				if one.opened.After(after) && !one.written.IsZero() {
					written++
				}
				if one.err != nil {
					last = one.err
				}
			}
		})
		if written >= n {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %d rows are written, want %d; one failure: %v", w.name, written, n, last)
		}
	}
}

// end opens no more connections and returns what has become of each when all are over. It may be called again.
func (w *patroniWriter) end() []*patroniWrite {
	w.set(func() {
		select {
		case <-w.stop:
		default:
			close(w.stop)
		}
	})
	w.done.Wait()
	return w.writes
}

// firstWrite is when the first row was written elsewhere than at one host; zero: never.
func firstWrite(writes []*patroniWrite, elsewhere string) time.Time {
	var times []time.Time
	for _, one := range writes {
		if !one.written.IsZero() && one.host != elsewhere {
			times = append(times, one.written)
		}
	}
	if len(times) == 0 {
		return time.Time{}
	}
	return slices.MinFunc(times, time.Time.Compare)
}

// SQLSTATEs with which a server that shuts down ends the sessions that it has, and refuses new ones.
const (
	adminShutdown    = "57P01"
	cannotConnectNow = "57P03"
)

// sqlState returns the code with which a server has answered, "" when it was not a server that did.
func sqlState(err error) string {
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		return answer.Code
	}
	return ""
}
