package admin

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"sluice/l4"
)

// TestKill: those end that are asked for, once each, and it must be said that all are to.
func TestKill(t *testing.T) {
	o := options(newPool(t, "shop", "a", "b"))
	o.Control = new(recorder)
	o.Visit = visiting(someSessions())
	var ended []uint64
	o.Kill = func(ref l4.SessionRef) bool {
		ended = append(ended, ref.ID)
		return ref.ID != 4 // it has ended meanwhile
	}
	_, tcp, socket := serve(t, o)
	f := func(query string, want Killed, ids ...uint64) {
		t.Helper()
		ended = nil
		answer, text := socket.do("DELETE", "/api/v1/sessions?"+query)
		var got Killed
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != 200 {
			t.Fatalf("%s: %s, %v\n%s", query, answer.Status, err, text)
		}
		if got != want || !slices.Equal(ended, ids) {
			t.Errorf("%s: %+v, %v; want %+v, %v", query, got, ended, want, ids)
		}
	}
	f("id=3", Killed{1, 1}, 3)
	f("id=3&id=2&id=99", Killed{2, 2}, 2, 3)
	f("id=99", Killed{})
	f("backend=a", Killed{2, 1}, 2, 4)
	f("pool=shop&older=10m", Killed{1, 1}, 1)
	f("all=true&rate=1000", Killed{4, 3}, 2, 1, 3, 4)
	f("all=true&dry_run=true", Killed{Matched: 4})
	ended = nil
	bad := func(query, want string) {
		t.Helper()
		answer, text := socket.do("DELETE", "/api/v1/sessions?"+query)
		var got Failure
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != 400 || got.Error != want {
			t.Errorf("%s: %s %s, want 400 %q", query, answer.Status, text, want)
		}
	}
	const which = "which sessions? Give id, all=true, or some of listener, pool, backend, client, state, idle and older"
	const both = "id, all=true and what sessions are chosen by exclude each other"
	bad("", which)
	bad("all=false", which)
	bad("dry_run=true", which)
	bad("id=1&all=true", both)
	bad("id=1&pool=shop", both)
	bad("all=true&pool=shop", both)
	bad("id=x", `id="x": want the number of a session`)
	bad("id=1&rate=0", `rate="0": want how many in a second, such as 50/s`)
	bad("id=1&rate=5/m", `rate="5/m": want how many in a second, such as 50/s`)
	bad("id=1&rate=NaN", `rate="NaN": want how many in a second, such as 50/s`)
	bad("limit=5", `unknown parameter "limit": want id, all, listener, pool, backend, client, state, idle, older, rate or dry_run`)
	if answer, _ := tcp.do("DELETE", "/api/v1/sessions?all=true"); answer.StatusCode != 405 || ended != nil {
		t.Errorf("the TCP address: %s, %v", answer.Status, ended)
	}
}

// TestKillEvenly: each has its time, however long the others take.
func TestKillEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var at []time.Duration
		n := killEvenly(t.Context(), make([]l4.SessionRef, 1000), 100, func(l4.SessionRef) bool {
			at = append(at, time.Since(began))
			if len(at)%7 == 0 {
				time.Sleep(5 * time.Millisecond)
			}
			return true
		})
		if n != 1000 {
			t.Fatalf("%d ended", n)
		}
		for i, d := range at {
			if want := time.Duration(i) * 10 * time.Millisecond; d != want {
				t.Fatalf("number %d ended after %v, want %v", i, d, want)
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		n = killEvenly(ctx, make([]l4.SessionRef, 10), 1, func(l4.SessionRef) bool {
			time.AfterFunc(1500*time.Millisecond, leave)
			return true
		})
		if n != 2 {
			t.Errorf("%d ended before the client left, want 2", n)
		}
	})
}

// TestKillEndsWithItsClient: who ends the command ends what it does, and for as long as it takes nothing cuts it.
func TestKillEndsWithItsClient(t *testing.T) {
	o := options(newPool(t, "shop", "a"))
	o.Control = new(recorder)
	o.Visit = visiting(make([]l4.SessionStats, 1000))
	first := make(chan struct{}, 1000)
	o.Kill = func(l4.SessionRef) bool {
		first <- struct{}{}
		return true
	}
	s, _, socket := serve(t, o)
	c, err := net.Dial("unix", socket.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "DELETE /api/v1/sessions?all=true&rate=0.01 HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	<-first
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	s.Close(t.Context()) // waits for what is being answered: the next was to end after 100 s
	if len(first) > 0 {
		t.Errorf("%d more ended", len(first))
	}
}
