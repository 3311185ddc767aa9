package admin

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Answers must not cost the sessions their processors, however many ask: requests are worked at one at a time, and
// after each the next waits for as long as makes it a tenth of one processor. Who asks now and then never notices.
const (
	restShare = 9                      // rest for so many times as long as was worked
	longRest  = 200 * time.Millisecond // at most, lest a long answer keeps all others waiting
	// requestCost is what a request costs besides the work at its answer: package net/http, and the system calls.
	requestCost = 50 * time.Microsecond
)

// A turnstile lets requests through one by one, at a pace.
type turnstile struct {
	turn chan struct{} // holds a value while one is worked at, and during the rest
}

func newTurnstile() *turnstile { return &turnstile{make(chan struct{}, 1)} }

// do waits for its turn and works. It returns false when ctx was done before.
func (t *turnstile) do(ctx context.Context, work func()) bool {
	select {
	case t.turn <- struct{}{}:
	case <-ctx.Done():
		return false
	}
	began := time.Now()
	defer func() {
		rest := min(restShare*(time.Since(began)+requestCost), longRest)
		time.AfterFunc(rest, func() { <-t.turn })
	}()
	work()
	return true
}

// paced makes answers one by one, and sends them when they are complete: a client that reads slowly keeps nobody from
// working. Whether the process lives and is ready is told without waiting for the answers that are long. What is free has
// a pace of its own.
func paced(h http.Handler, free func(*http.Request) bool) http.Handler {
	long, short := newTurnstile(), newTurnstile()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if free(r) {
			h.ServeHTTP(w, r)
			return
		}
		t := short
		if r.URL.Path == "/metrics" || strings.HasPrefix(r.URL.Path, "/api/") {
			t = long
		}
		a := answers.Get().(*answer)
		defer answers.Put(a)
		a.reset()
		if t.do(r.Context(), func() { h.ServeHTTP(a, r) }) {
			a.send(w)
		}
	})
}

// answers keeps the memory of one answer for the next.
var answers = sync.Pool{New: func() any { return &answer{header: make(http.Header)} }}

// An answer is one that is not sent yet.
type answer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *answer) reset() {
	clear(a.header)
	a.status = http.StatusOK
	a.body.Reset()
}

func (a *answer) Header() http.Header { return a.header }

func (a *answer) WriteHeader(status int) { a.status = status }

func (a *answer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *answer) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), a.header)
	w.Header().Set("Content-Length", strconv.Itoa(a.body.Len()))
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body.Bytes()) // the client is gone
}
