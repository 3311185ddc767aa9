package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A play is one scenario on one way, and what came of it.
type play struct {
	way            *way
	number         int    // of the scenario
	client, server string // what they saw
	late           time.Duration
	stranger       bool // the server had somebody else's connection
	err            error
}

const (
	// A peer that stops for so long is not slow but gone, which a busy machine can make of it: the scenario is played again.
	tooLate = wayTimeout / 2
	rounds  = 5
)

// What a client and a server see of each other through sluice is what they see of each other directly, whoever is slow,
// half-closes, closes or cuts when. HAProxy and nginx are there for comparison.
func TestDifferential(t *testing.T) {
	t.Parallel()
	ways := []*way{directly(t), throughSluice(t), throughHAProxy(t), throughNginx(t)}
	table := make([][]*play, len(scenarios))
	var all []*play
	for i := range scenarios {
		for _, w := range ways {
			p := &play{way: w, number: i}
			table[i], all = append(table[i], p), append(all, p)
		}
	}
	for round, rest := 0, all; len(rest) > 0; round++ {
		if round == rounds {
			t.Fatalf("in each of %d rounds a peer of %q was late, the last time by %v", rounds, rest[0].scenario().name, rest[0].late)
		}
		rest = playAll(t, rest)
	}
	showTable(t, "What client and server see of each other: bytes received and how it ended", tableOf(table))
	for i, plays := range table {
		for _, p := range plays[:2] {
			if p.err != nil {
				t.Errorf("%s, %s: %v", scenarios[i].name, p.way.name, p.err)
			}
		}
		if direct, sluice := plays[0].seen(), plays[1].seen(); direct != sluice {
			t.Errorf("%s: directly %s, through sluice %s", scenarios[i].name, direct, sluice)
		}
	}
}

// playAll plays scenarios at the same time and returns those that are to be played again.
func playAll(t *testing.T, plays []*play) (again []*play) {
	t.Helper()
	for _, p := range plays {
		if err := p.way.servers[p.number].listen(); err != nil {
			t.Fatal(err)
		}
		if p.scenario().exits && p.way.ready != nil {
			p.way.ready(p.number)
		}
	}
	var playing sync.WaitGroup
	for _, p := range plays {
		playing.Go(p.play)
	}
	playing.Wait()
	for _, p := range plays {
		if p.late > tooLate {
			t.Logf("%s, %s: a peer was late by %v", p.scenario().name, p.way.name, p.late)
			again = append(again, p)
		} else if p.stranger {
			t.Logf("%s, %s: a stranger came to the server", p.scenario().name, p.way.name)
			again = append(again, p)
		}
	}
	return again
}

func (p *play) scenario() scenario { return scenarios[p.number] }

// play makes the connection, and client and server act.
func (p *play) play() {
	client, server := newPeers()
	dialer := net.Dialer{Control: p.scenario().tune, Timeout: patient}
	conn, err := dialer.Dial("tcp", p.way.front[p.number])
	if err != nil {
		p.err = err
		return
	}
	var acting sync.WaitGroup
	acting.Go(func() { p.err = p.way.servers[p.number].serve(server) })
	client.act(conn.(*net.TCPConn), p.scenario().client)
	client.over.Store(true)
	acting.Wait()
	p.client, p.server = client.saw(p.scenario().cut), server.saw(p.scenario().cut)
	p.late = time.Duration(max(client.late.Load(), server.late.Load()))
	p.stranger = server.misread(0) && server.sent.Load() > 0 && client.got.Load() == 0
}

// seen is what both have seen.
func (p *play) seen() string {
	if p.err != nil {
		return p.err.Error()
	}
	return fmt.Sprintf("client %s, server %s", p.client, p.server)
}

// tableOf has a line for each scenario: what was seen directly, and where it was something else on another way.
func tableOf(table [][]*play) string {
	var text strings.Builder
	const line = "%-68s %-32s %-32s %-32s %s\n"
	fmt.Fprintf(&text, line, "client / server", "directly", "sluice", "HAProxy", "nginx")
	for i, plays := range table {
		cells := []any{scenarios[i].name}
		direct := plays[0].cell()
		for _, p := range plays {
			if cell := p.cell(); p == plays[0] || cell != direct {
				cells = append(cells, cell)
			} else {
				cells = append(cells, "=")
			}
		}
		fmt.Fprintf(&text, line, cells...)
	}
	return text.String()
}

func (p *play) cell() string {
	if p.err != nil {
		return p.err.Error()
	}
	return p.client + " / " + p.server
}
