package admin

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestPace: requests are worked at one by one, with a rest after each, and one that comes after the rest need not wait.
func TestPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const work, crowd = 5 * time.Millisecond, 10
		var now, most atomic.Int32
		var worked time.Duration
		h := paced(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			most.Store(max(most.Load(), now.Add(1)))
			time.Sleep(work)
			worked += work
			now.Add(-1)
			io.WriteString(w, "done")
		}), nothing)
		ask := func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)) }
		began := time.Now()
		var all sync.WaitGroup
		for range crowd {
			all.Go(ask)
		}
		all.Wait()
		if n := most.Load(); n != 1 {
			t.Errorf("%d were worked at at a time", n)
		}
		// The first need not wait, and nobody waits for the rest after the last.
		rest := restShare * (work + requestCost)
		if took, want := time.Since(began), crowd*work+(crowd-1)*rest; took != want || worked != crowd*work {
			t.Errorf("%d answers took %v, %v of them work, want %v", crowd, took, worked, want)
		}
		time.Sleep(rest)
		began = time.Now()
		ask()
		if took := time.Since(began); took != work {
			t.Errorf("one that asks after the rest waits: %v, want %v", took, work)
		}
	})
}

// TestReadinessDoesNotWait: long answers are not waited for by those who ask whether the process is ready, and one who
// has left is not worked for.
func TestReadinessDoesNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		h := paced(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/api/v1/status" {
				<-release
			}
			w.WriteHeader(http.StatusTeapot)
		}), nothing)
		go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/v1/status", nil))
		synctest.Wait()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/readyz", nil))
		if w.Code != http.StatusTeapot {
			t.Errorf("/readyz: %d", w.Code)
		}
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan struct{})
		gone := httptest.NewRecorder()
		go func() {
			defer close(left)
			h.ServeHTTP(gone, httptest.NewRequestWithContext(ctx, "GET", "/metrics", nil))
		}()
		synctest.Wait()
		leave()
		<-left
		if gone.Code == http.StatusTeapot {
			t.Error("one who has left was worked for")
		}
		close(release)
	})
}

func nothing(*http.Request) bool { return false }

// TestProcessIsAskedOnceASecond: asking the runtime for its memory stops every event loop.
func TestProcessIsAskedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r resources
		text := func() []byte {
			var buf bytes.Buffer
			r.write(&buf)
			return buf.Bytes()
		}
		first := text()
		if !bytes.Contains(first, []byte("go_memstats_mallocs_total")) || r.openFiles() == 0 {
			t.Fatalf("not told: %d open, %s", r.openFiles(), first)
		}
		time.Sleep(resourcesLast - time.Nanosecond)
		if !bytes.Equal(text(), first) {
			t.Error("asked again within a second")
		}
		time.Sleep(time.Nanosecond)
		if bytes.Equal(text(), first) { // it has allocated since
			t.Error("not asked again after a second")
		}
	})
}
