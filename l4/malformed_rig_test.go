package l4

import (
	"bytes"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/l4/tlshello"
	"sluice/l4/tlshello/hellotest"
)

// hostile is how a client begins that is not what the listener is for, and what
// becomes of it.
type hostile struct {
	dialogue []say // server: what sluice answers
	then     clientEnd
	reason   Reason
	word     []byte // the last word, before FIN; nil = none, and a reset unless the client was done
}

// clientEnd is what a client does after its dialogue.
type clientEnd int

const (
	stays  clientEnd = iota // and is ended at once
	waits                   // until it is ended
	closes                  // with FIN
)

const hostilePeek = 5 * time.Second

// expectHostile plays a session, and checks that it ends as it must: at once, or when its
// time is over and no earlier.
func (r *routedRig) expectHostile(h hostile) {
	r.t.Helper()
	c := r.dialNow()
	r.play(c, h.dialogue)
	r.until("the session begins", func() bool { return len(r.ended) > r.checked || r.newest() != nil })
	switch h.then {
	case waits:
		r.turns(3)
		r.now += hostilePeek - time.Millisecond
		r.turns(3)
		if len(r.ended) > r.checked {
			r.t.Fatalf("ended early: %+v", r.ended[r.checked])
		}
		r.now += time.Millisecond + tick
	case closes:
		c.CloseWrite()
	}
	end := r.expectEnd(h.reason)
	if end.Pool != "" || end.Backend != "" || end.Sent != 0 || end.Received != 0 || end.Retries != 0 {
		r.t.Errorf("ended with %+v, want no pool, no backend, no bytes", end)
	}
	var want error
	if h.word == nil && h.reason != ClientClosed {
		want = syscall.ECONNRESET
	}
	if data, err := r.restNow(c); err != want || !bytes.Equal(data, h.word) {
		r.t.Errorf("the client read %q, %v; want %q, %v", data, err, h.word, want)
	}
}

// play is a client's part of a dialogue with sluice.
func (r *rig) play(c conn, dialogue []say) {
	r.t.Helper()
	for _, say := range dialogue {
		if say.from == client {
			r.put(c, say.data)
		} else {
			r.get(c, say.data)
		}
	}
}

// hostilePlays plays each session of a table in a rig of its own, which no backend may hear of.
func hostilePlays(t *testing.T, open func(t *testing.T) *routedRig, table map[string]hostile) {
	t.Helper()
	r := open(t)
	for name, h := range table {
		t.Run(name, func(t *testing.T) {
			r.t = t
			r.expectHostile(h)
		})
	}
	r.t = t
	r.expectEmpty()
	r.expectUnasked()
	if text := r.logs.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "level=WARN") {
		t.Errorf("the log says %s", text)
	}
}

// fromClient is a dialogue in which the client is not answered.
func fromClient(parts ...[]byte) (dialogue []say) {
	for _, part := range parts {
		dialogue = append(dialogue, say{client, part})
	}
	return dialogue
}

// What clients are told that no route takes, or that took too long.
var (
	noName  = tlshello.AlertUnrecognizedName.Record()
	tooLate = tlshello.AlertInternalError.Record()
	noShop  = noDatabase("shop", "alice")
)

// alertFor is what a client that speaks TLS is told of a bad hello; nil = it is told nothing.
func alertFor(bad hellotest.BadHello) []byte {
	if bad.Alert == 0 {
		return nil
	}
	return tlshello.Alert(bad.Alert).Record()
}

// plain is what there is of a bad hello, cut so that sluice reads all of it before it
// answers: what it has not read may turn the end into a reset.
func plain(bad hellotest.BadHello) []byte {
	if bad.By > 0 && len(bad.Data) > helloRead {
		return bad.Data[:bad.By]
	}
	return bad.Data
}
