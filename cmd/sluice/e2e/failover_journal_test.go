package e2e

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// journalEvery is the time between two connections of a journal.
	journalEvery = 50 * time.Millisecond
	// journalPatience is how long one of them waits, first for the server and then for its row.
	journalPatience = 2 * patient
)

// A journal is a table in which a row is written again and again, each through a connection of its own. A row says
// which server has accepted it.
type journal struct {
	address string
	stop    chan struct{}
	done    sync.WaitGroup

	mu      sync.Mutex // guards all entries
	entries []*entry   // by id, from 0
}

// An entry is what has become of one row. A time that is zero was not reached.
type entry struct {
	sslmode   string
	opened    time.Time // began to connect
	connected time.Time // the server has let it in
	written   time.Time // the server has said that the row is committed
	ended     time.Time // written or failed
	dials     int       // with sslmode prefer, a client whose connection fails tries once more without TLS
	err       error
}

const journalTable = "create table journal (id int, port int default inet_server_port())"

// startJournal writes until the test or end ends it.
func startJournal(t *testing.T, address string) *journal {
	t.Helper()
	j := &journal{address: address, stop: make(chan struct{})}
	ctx, cancel := context.WithCancel(context.Background())
	j.done.Go(func() { j.run(ctx) })
	t.Cleanup(func() {
		cancel()
		j.end()
	})
	return j
}

func (j *journal) run(ctx context.Context) {
	pace := time.NewTicker(journalEvery)
	defer pace.Stop()
	for id := 0; ; id++ {
		e := &entry{sslmode: []string{"disable", "prefer"}[id%2], opened: time.Now()}
		j.set(func() { j.entries = append(j.entries, e) })
		j.done.Go(func() {
			err := j.write(ctx, id, e)
			j.set(func() { e.err, e.ended = err, time.Now() })
		})
		select {
		case <-pace.C:
		case <-j.stop:
			return
		}
	}
}

func (j *journal) set(change func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	change()
}

// write is the life of one entry.
func (j *journal) write(ctx context.Context, id int, e *entry) error {
	ctx, cancel := context.WithTimeout(ctx, journalPatience)
	defer cancel()
	config, err := pgconn.ParseConfig(clientConninfo(j.address, e.sslmode))
	if err != nil {
		return err
	}
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		j.set(func() { e.dials++ })
		return dial(ctx, network, address)
	}
	c, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	j.set(func() { e.connected = time.Now() })
	if _, err := c.Exec(ctx, fmt.Sprintf("insert into journal (id) values (%d)", id)).ReadAll(); err != nil {
		return err
	}
	j.set(func() { e.written = time.Now() })
	return nil
}

// untilWritten waits until n connections that were opened after a time have written.
func (j *journal) untilWritten(t *testing.T, n int, after time.Time) {
	t.Helper()
	until(t, fmt.Sprintf("%d rows are written", n), func() error {
		written, waiting := 0, 0
		var last error
		j.set(func() {
			for _, e := range j.entries {
				switch {
				case e.opened.Before(after):
				case e.ended.IsZero():
					waiting++
				case e.err != nil:
					last = e.err
				default:
					written++
				}
			}
		})
		if written < n {
			return fmt.Errorf("%d are, %d connections wait, one has failed: %v", written, waiting, last)
		}
		return nil
	})
}

// end opens no more connections, waits for those that are open, and returns what has become of all. It may be called
// again.
func (j *journal) end() []*entry {
	j.set(func() {
		select {
		case <-j.stop:
		default:
			close(j.stop)
		}
	})
	j.done.Wait()
	return j.entries
}

// journalRows has, for each entry, the ports of the servers that have accepted a row of it.
type journalRows map[int][]int

// readJournal returns what a server has in the table.
func readJournal(t *testing.T, m *member) journalRows {
	t.Helper()
	rows := make(journalRows)
	for line := range strings.Lines(m.query("select id, port from journal")) {
		id, port, _ := strings.Cut(strings.TrimSpace(line), "|")
		i, err1 := strconv.Atoi(id)
		p, err2 := strconv.Atoi(port)
		if err1 != nil || err2 != nil {
			t.Fatalf("the journal has the row %q", line)
		}
		rows[i] = append(rows[i], p)
	}
	return rows
}
