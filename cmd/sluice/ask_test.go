package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A reply is what a socket answers to one request, and the request that it is for: "METHOD PATH?QUERY BODY".
type reply struct {
	want   string
	status int
	text   string
}

// An answering is a control socket that answers what it is told to, in this order.
type answering struct {
	t      *testing.T
	socket string

	mu      sync.Mutex
	replies []reply
}

func newAnswering(t *testing.T) *answering {
	t.Helper()
	s := &answering{t: t, socket: filepath.Join(t.TempDir(), "s.sock")}
	l, err := net.Listen("unix", s.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	_ = server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)
	return s
}

func (s *answering) answer(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	body, _ := io.ReadAll(r.Body)
	got := strings.TrimSpace(r.Method + " " + r.URL.RequestURI() + " " + string(body))
	if len(s.replies) == 0 {
		s.t.Errorf("%s is one request too many", got)
		w.WriteHeader(http.StatusTeapot)
		return
	}
	next := s.replies[0]
	s.replies = s.replies[1:]
	if got != next.want {
		s.t.Errorf("asked for %s\nwant      %s", got, next.want)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(next.status)
	_, _ = io.WriteString(w, next.text)
}

// run runs a command line on the replies, and checks its exit status and, by regular expressions, what it prints. Nothing
// is printed where none is wanted.
func (s *answering) run(line string, replies []reply, status int, stdout, stderr string) {
	s.t.Helper()
	s.mu.Lock()
	s.replies = replies
	s.mu.Unlock()
	var out, problems strings.Builder
	if got := execute(append(strings.Fields(line), "--socket", s.socket), &out, &problems); got != status {
		s.t.Errorf("%s: exit status %d, want %d", line, got, status)
	}
	match := func(what, text, want string) {
		if want == "" && text != "" || !regexp.MustCompile("(?s)"+want).MatchString(text) {
			s.t.Errorf("%s: on %s\n%s\nwant %s", line, what, text, want)
		}
	}
	match("standard output", out.String(), stdout)
	match("standard error", problems.String(), stderr)
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.replies) > 0 {
		s.t.Errorf("%s: has not asked for %s", line, s.replies[0].want)
	}
}

const (
	someChange = `{"generation": 7, "pools": [{"name": "web", "what": "changed", "backends": [
		{"name": "one", "what": "changed", "keys": [{"key": "weight", "from": "1", "to": "5"}]}]}]}`
	dryChange = `{"generation": 6, "dry_run": true, "listeners": [{"name": "mail", "what": "added"}]}`
	noChange  = `{"generation": 6}`
)

func TestReloadCommand(t *testing.T) {
	s := newAnswering(t)
	s.run("reload", []reply{{"POST /api/v1/reload", 200, someChange}}, 0,
		`^~ backend web/one weight: 1 -> 5\ngeneration 7 is in force\n$`, "")
	s.run("reload", []reply{{"POST /api/v1/reload", 200, noChange}}, 0, `^nothing has changed: generation 6 is in force\n$`, "")
	s.run("reload --dry-run", []reply{{"POST /api/v1/reload?dry_run=true", 200, dryChange}}, 0,
		`^\+ listener mail\na dry run: nothing has changed\n$`, "")
	s.run("reload --json", []reply{{"POST /api/v1/reload", 200, noChange}}, 0, "^"+regexp.QuoteMeta(noChange)+"$", "")
	s.run("reload", []reply{{"POST /api/v1/reload", 422, `{"error": "two things", "problems": [
		{"file": "a.yaml", "line": 3, "column": 5, "message": "unknown key"}, {"file": "b.yaml", "message": "no such file"}]}`}},
		3, "", `^a.yaml:3:5: unknown key\nb.yaml: no such file\n$`)
	s.run("reload", []reply{{"POST /api/v1/reload", 422, `{"error": "deny.txt is wrong"}`}}, 3, "", `^sluice: deny.txt is wrong\n$`)
	// A name that does not resolve now may do so later: nobody has written anything wrong.
	s.run("reload", []reply{{"POST /api/v1/reload", 422, `{"error": "x", "problems": [
		{"file": "a.yaml", "line": 3, "column": 5, "message": "\"db\" does not resolve"}]}`}}, 1, "", "does not resolve")
	s.run("reload", []reply{{"POST /api/v1/reload", 500, `{"error": "no descriptors"}`}}, 1, "", `^sluice: no descriptors\n$`)
	s.run("reload", []reply{{"POST /api/v1/reload", 404, "404 page not found"}}, 1, "",
		`^sluice: ask \S+: it answered 404 Not Found\n$`)
	s.run("reload", []reply{{"POST /api/v1/reload", 200, "hello"}}, 1, "", `^sluice: read answer of \S+: invalid character`)
	s.run("reload web", nil, 2, "", `unexpected argument "web"`)
}

func TestDiffCommand(t *testing.T) {
	s := newAnswering(t)
	dir := t.TempDir()
	t.Chdir(dir)
	const config = "listeners: {}\n"
	if err := os.WriteFile("next.yaml", []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(map[string]any{"files": []map[string]string{{"name": filepath.Join(dir, "next.yaml"), "text": config}}})
	if err != nil {
		t.Fatal(err)
	}
	asked := "POST /api/v1/reload?dry_run=true " + string(body)
	s.run("diff next.yaml", []reply{{asked, 200, dryChange}}, 0, `^\+ listener mail\na dry run: nothing has changed\n$`, "")
	s.run("diff -c next.yaml", []reply{{asked, 200, `{"generation": 6, "dry_run": true}`}}, 0, `^nothing would change\n$`, "")
	s.run("diff -c next.yaml --json", []reply{{asked, 200, dryChange}}, 0, "^"+regexp.QuoteMeta(dryChange)+"$", "")
	// The file is named as the user has named it.
	s.run("diff next.yaml", []reply{{asked, 422, `{"error": "x", "problems": [{"file": "` + filepath.Join(dir, "next.yaml") +
		`", "line": 1, "column": 2, "message": "wrong"}]}`}}, 3, "", `^next.yaml:1:2: wrong\n$`)
	s.run("diff nothing.yaml", nil, 3, "", `^nothing.yaml: read file: no such file or directory\n$`)
	s.run("diff", nil, 2, "", "no file to compare: give one")
}

func TestSetCommands(t *testing.T) {
	s := newAnswering(t)
	const overrides = "/api/v1/pools/web/backends/one/overrides"
	s.run("set web/one weight=5 state=drain", []reply{{"PATCH " + overrides + ` {"state":"drain","weight":"5"}`, 200, someChange}},
		0, "generation 7", "")
	s.run("set web/unix:/run/a.sock max_conns=0 --dry-run", []reply{{
		`PATCH /api/v1/pools/web/backends/unix:%2Frun%2Fa.sock/overrides?dry_run=true {"max_conns":"0"}`, 200, dryChange,
	}}, 0, "a dry run", "")
	s.run("set web/one weight=much", []reply{{"PATCH " + overrides + ` {"weight":"much"}`, 400, `{"error": "weight=\"much\": want a number"}`}},
		2, "", `^sluice: weight="much": want a number\n$`)
	s.run("set web/two weight=1", []reply{{`PATCH /api/v1/pools/web/backends/two/overrides {"weight":"1"}`, 404,
		`{"error": "pool web has no backend \"two\": there is one"}`}}, 1, "", `there is one`)
	s.run("set web/one", nil, 2, "", "want a backend, as POOL/BACKEND, and KEY=VALUE")
	s.run("set web weight=1", nil, 2, "", `"web": want POOL/BACKEND`)
	s.run("set web/ weight=1", nil, 2, "", `"web/": want POOL/BACKEND`)
	s.run("set /one weight=1", nil, 2, "", `"/one": want POOL/BACKEND`)
	s.run("set web/one weight", nil, 2, "", `"weight": want KEY=VALUE`)
	s.run("set web/one weight=", nil, 2, "", `"weight=": want KEY=VALUE`)
	s.run("set web/one weight=1 weight=2", nil, 2, "", "weight is given twice")

	s.run("unset web/one", []reply{{"DELETE " + overrides, 200, noChange}}, 0, "nothing has changed", "")
	s.run("unset web/one weight state --json", []reply{{"DELETE " + overrides + "?key=weight&key=state", 200, noChange}}, 0, "generation", "")
	s.run("unset web/one weight --dry-run", []reply{{"DELETE " + overrides + "?dry_run=true&key=weight", 200, dryChange}}, 0, "dry run", "")
	s.run("unset", nil, 2, "", "want a backend")

	s.run("add web 10.0.0.9:80", []reply{{`POST /api/v1/pools/web/backends {"address":"10.0.0.9:80"}`, 201, someChange}}, 0, "generation 7", "")
	s.run("add web 10.0.0.9:80 --name nine --weight 2 --max-conns 3 --backup --state drain --dry-run", []reply{{
		`POST /api/v1/pools/web/backends?dry_run=true {"address":"10.0.0.9:80","backup":true,"max_conns":3,"name":"nine","state":"drain","weight":2}`,
		201, dryChange,
	}}, 0, "dry run", "")
	s.run("add web 10.0.0.9:80", []reply{{`POST /api/v1/pools/web/backends {"address":"10.0.0.9:80"}`, 409, `{"error": "it is there"}`}},
		1, "", "^sluice: it is there\n$")
	s.run("add web", nil, 2, "", "want a pool and an address")
	s.run("add web 10.0.0.9:80 more", nil, 2, "", `unexpected argument "more"`)
	s.run("add web 10.0.0.9:80 --weight much", nil, 2, "", `invalid argument "much"`)
}

func TestStateCommands(t *testing.T) {
	s := newAnswering(t)
	const path = "/api/v1/pools/web/backends/one"
	draining := reply{"PATCH " + path + `/overrides {"state":"drain"}`, 200, someChange}
	backend := func(text string) reply { return reply{"GET " + path, 200, text} }
	left, gone := backend(`{"state": "drain", "active": 2}`), backend(`{"state": "drain", "active": 0}`)
	s.run("drain web/one", []reply{draining}, 0, `^~ backend web/one`, "")
	s.run("drain web/one --wait 5m", []reply{draining, left, left, gone}, 0,
		`generation 7 is in force\nweb/one has 2 sessions: waiting\nweb/one has no sessions\n$`, "")
	s.run("drain web/one --wait 5m --json", []reply{draining, left, gone}, 0, "^"+regexp.QuoteMeta(someChange)+"$", "")
	s.run("drain web/one --wait 1ns", []reply{draining, left}, 1, "generation 7", `^sluice: web/one still has 2 sessions after 1ns\n$`)
	s.run("drain web/one --wait 5m", []reply{draining, left, backend(`{"state": "ready", "active": 3}`)}, 1, "waiting",
		`^sluice: web/one has 3 sessions, and is ready now: somebody has changed it\n$`)
	// Its address has left DNS, say: it is removed when its last session has ended.
	s.run("drain web/one --wait 5m", []reply{
		draining, left, {"GET " + path, 404, `{"error": "gone"}`}, {"GET /api/v1/status", 200, `{}`},
	}, 0, `2 sessions: waiting\nweb/one was removed: it has no sessions\n$`, "")
	s.run("drain web/one --wait 5m", []reply{draining, {"GET " + path, 500, `{"error": "trouble"}`}}, 1, "generation 7", "trouble")
	s.run("drain web/one --wait 0s", nil, 2, "", "--wait 0s: want a time above zero")
	s.run("drain web/one --wait 5m --dry-run", nil, 2, "", "--wait cannot be combined with --dry-run")
	s.run("drain", nil, 2, "", "want one backend, as POOL/BACKEND")
	s.run("drain web/one web/two", nil, 2, "", `unexpected argument "web/two"`)

	s.run("maint web/one --wait 1m", []reply{
		{"PATCH " + path + `/overrides {"state":"maint"}`, 200, someChange}, backend(`{"state": "maint"}`),
	}, 0, "web/one has no sessions\n$", "")

	status := func(overrides string) reply {
		return reply{"GET /api/v1/status", 200, `{"overrides": [` + overrides + `]}`}
	}
	ready := reply{"PATCH " + path + `/overrides {"state":"ready"}`, 200, someChange}
	unset := reply{"DELETE " + path + "/overrides?key=state", 200, someChange}
	s.run("ready web/one", []reply{status(""), ready}, 0, "generation 7", "")
	s.run("ready web/one", []reply{
		status(`{"pool": "web", "backend": "one", "key": "state", "value": "drain", "in_file": "maint"}`), ready,
	}, 0, "generation 7", "")
	inFile := status(`{"pool": "web", "backend": "two", "key": "state", "value": "drain", "in_file": "drain"},
		{"pool": "web", "backend": "one", "key": "state", "value": "drain", "in_file": "ready"}`)
	s.run("ready web/one", []reply{inFile, unset}, 0, "generation 7", "")
	s.run("ready web/one --wait 1m", []reply{
		inFile, unset, backend(`{"state": "ready"}`), backend(`{"state": "ready", "up": true, "usable": true}`),
	}, 0, "generation 7 is in force\nweb/one is up\n$", "")
	s.run("ready web/one --wait 1ns", []reply{inFile, unset, backend(`{"state": "ready", "check": {"error": "no answer"}}`)}, 1,
		"generation 7", `^sluice: web/one is not usable after 1ns: down, no answer\n$`)
	s.run("ready web/one --wait 1ns", []reply{inFile, unset, backend(`{"state": "ready", "up": true}`)}, 1,
		"generation 7", "after 1ns: its weight is 0")

	removed := reply{"DELETE " + path, 200, someChange}
	s.run("remove web/one", []reply{removed}, 0, "generation 7", "")
	s.run("remove web/one --wait 2m", []reply{left, removed, left, {"GET " + path, 404, `{"error": "gone"}`}}, 0,
		`2 sessions: waiting\nweb/one has no sessions\n$`, "")
	entry := reply{"GET /api/v1/status", 200, `{"pools": [{"name": "web", "backends": [
		{"name": "a", "entry": "one"}, {"name": "b", "entry": "two"}, {"name": "c", "entry": "one"}]}]}`}
	none := reply{"GET " + path, 404, `{"error": "none"}`}
	of := func(name, text string) reply { return reply{"GET /api/v1/pools/web/backends/" + name, 200, text} }
	s.run("drain web/one --wait 5m", []reply{
		draining, none, entry, of("a", `{"state": "drain", "active": 2}`), of("c", `{"state": "drain", "active": 1}`),
		of("a", `{"state": "drain"}`), {"GET /api/v1/pools/web/backends/c", 404, `{"error": "gone"}`},
	}, 0, `web/one has 3 sessions: waiting\nweb/one has no sessions\n$`, "")
	s.run("ready web/one --wait 1ns", []reply{
		inFile, unset, none, entry, of("a", `{"state": "ready", "usable": true}`), of("c", `{"state": "ready", "vanished": true}`),
	}, 0, `web/one is up\n$`, "")
	s.run("remove web/one --wait 5m", []reply{
		none, entry, removed, of("a", `{"active": 1}`), {"GET /api/v1/pools/web/backends/c", 404, `{"error": "gone"}`},
		{"GET /api/v1/pools/web/backends/a", 404, `{"error": "gone"}`}, {"GET /api/v1/pools/web/backends/c", 404, `{"error": "gone"}`},
	}, 0, `web/one has 1 session: waiting\nweb/one has no sessions\n$`, "")
	s.run("remove web/one --wait 1ns", []reply{left, removed, left}, 1, "generation 7", "still has 2 sessions")
	s.run("remove web", nil, 2, "", "want POOL/BACKEND")
}

func TestSessionsCommand(t *testing.T) {
	s := newAnswering(t)
	const answer = `{"sessions": [
		{"id": 5, "listener": "web", "pool": "shop", "backend": "one", "client": "192.0.2.1:5", "state": "relaying", "age_seconds": 1.25,
			"idle_seconds": 0.04, "received_bytes": 2048, "sent_bytes": 7, "server_name": "a.example"},
		{"id": 12, "listener": "web", "state": "dreaming", "client": "unix", "age_seconds": 190000, "idle_seconds": 61}], "complete": true}`
	s.run("sessions", []reply{{"GET /api/v1/sessions", 200, answer}}, 0, `^ID +LISTENER +POOL +BACKEND +CLIENT +STATE +AGE +IDLE +RECEIVED +SENT +NAME
12 +web +- +- +unix +dreaming +2d4h +1m1s +0 B +0 B +-
 5 +web +shop +one +192.0.2.1:5 +relaying +1.3s +0s +2.0 KiB +7 B +a.example
2 sessions\n$`, "")
	s.run("sessions --json", []reply{{"GET /api/v1/sessions", 200, answer}}, 0, "^"+regexp.QuoteMeta(answer)+"$", "")
	s.run("sessions --pool p --backend b --listener l --client 192.0.2.0/24 --idle 30s --older 10m --state relaying --limit 3", []reply{{
		"GET /api/v1/sessions?backend=b&client=192.0.2.0%2F24&idle=30s&limit=3&listener=l&older=10m&pool=p&state=relaying", 200,
		`{"sessions": [{"id": 1}], "complete": false}`,
	}}, 0, "\n1 session, and there are more\n$", "")
	s.run("sessions --idle long", []reply{{"GET /api/v1/sessions?idle=long", 400, `{"error": "idle=\"long\": want a duration"}`}}, 2, "", "want a duration")
	// It goes on until there is nobody any more to ask.
	s.run("sessions --watch", []reply{
		{"GET /api/v1/sessions", 200, answer}, {"GET /api/v1/sessions", 500, `{"error": "over"}`},
	}, 1, "2 sessions\n\n$", "over")
	s.run("sessions --pool=", nil, 2, "", "--pool: want a value")
	s.run("sessions --limit -1", nil, 2, "", "must not be negative")
	s.run("sessions 5", nil, 2, "", `unexpected argument "5"`)
}

func TestKillCommand(t *testing.T) {
	s := newAnswering(t)
	killed := func(query, answer string) []reply { return []reply{{"DELETE /api/v1/sessions?" + query, 200, answer}} }
	s.run("kill 5 6", killed("id=5&id=6", `{"matched": 2, "ended": 2}`), 0, "^2 sessions ended\n$", "")
	s.run("kill 5 6", killed("id=5&id=6", `{"matched": 1, "ended": 1}`), 1, "^1 session ended\n$", "1 of 2 sessions not found")
	s.run("kill --pool web --idle 10m --rate 50/s", killed("idle=10m&pool=web&rate=50%2Fs", `{"matched": 9, "ended": 7}`), 0,
		"^7 sessions ended, 2 had ended by themselves\n$", "")
	s.run("kill --all --dry-run", killed("all=true&dry_run=true", `{"matched": 3, "ended": 0}`), 0, "^3 sessions would be ended\n$", "")
	s.run("kill --all --json", killed("all=true", `{"matched": 3, "ended": 3}`), 0, `^{"matched": 3, "ended": 3}$`, "")
	s.run("kill --all --rate fast", []reply{{"DELETE /api/v1/sessions?all=true&rate=fast", 400, `{"error": "rate=\"fast\": want 50/s"}`}},
		2, "", "want 50/s")
	s.run("kill --all", []reply{{"DELETE /api/v1/sessions?all=true", 200, ""}}, 1, "", "read answer of")
	s.run("kill", nil, 2, "", "which sessions")
	s.run("kill five", nil, 2, "", `"five": want the ID of a session`)
	s.run("kill 5 --all", nil, 2, "", "cannot be combined")
	s.run("kill 5 --pool web", nil, 2, "", "cannot be combined")
	s.run("kill --pool web --all", nil, 2, "", "cannot be combined")
	s.run("kill --all --rate=", nil, 2, "", "--rate: want a value")
}

func TestRebalanceCommand(t *testing.T) {
	s := newAnswering(t)
	const path = "POST /api/v1/pools/web/rebalance"
	answer := func(ended string) string {
		return `{"pool": "web", "backends": [{"backend": "one", "sessions": 6, "surplus": 3}, {"backend": "two"}], "ended": ` + ended + `}`
	}
	s.run("rebalance web", []reply{{path, 200, answer("3")}}, 0, `^BACKEND +SESSIONS +TOO MANY\none +6 +3\ntwo +0 +0\n3 sessions closed\n$`, "")
	s.run("rebalance web", []reply{{path, 200, answer("1")}}, 0, "1 session closed, 2 more were in use\n$", "")
	s.run("rebalance web --dry-run", []reply{{path + "?dry_run=true", 200, answer("0")}}, 0, "3 sessions would be closed, where idle\n$", "")
	s.run("rebalance web --json", []reply{{path, 200, answer("3")}}, 0, "^"+regexp.QuoteMeta(answer("3"))+"$", "")
	s.run("rebalance web", []reply{{path, 409, `{"error": "of no use"}`}}, 1, "", "^sluice: of no use\n$")
	s.run("rebalance web", []reply{{path, 200, ""}}, 1, "", "read answer of")
	s.run("rebalance", nil, 2, "", "want one pool")
}

func TestCompletionOfBackends(t *testing.T) {
	s := newAnswering(t)
	status := reply{"GET /api/v1/status", 200, `{"pools": [{"name": "web", "backends": [{"name": "one"}, {"name": "two"}]}, {"name": "db"}]}`}
	f := func(args []string, replies []reply, want string) {
		t.Helper()
		s.replies = replies
		var out strings.Builder
		execute(append([]string{"__complete", args[0], "--socket", s.socket}, args[1:]...), &out, io.Discard)
		if got := out.String(); got != want {
			t.Errorf("%v: completes\n%swant\n%s", args, got, want)
		}
	}
	f([]string{"drain", ""}, []reply{status}, "web/one\nweb/two\n:4\n")
	f([]string{"add", ""}, []reply{status}, "web\ndb\n:4\n")
	f([]string{"set", "web/one", ""}, nil, "state=\nweight=\nmax_conns=\n:6\n")
	f([]string{"drain", ""}, []reply{{"GET /api/v1/status", 500, ""}}, ":1\n")
}

// TestNobodyToAsk: every command that asks says the same when there is nobody.
func TestNobodyToAsk(t *testing.T) {
	config := filepath.Join(t.TempDir(), "c.yaml")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"status", "reload", "diff " + config, "set web/one weight=1", "unset web/one", "drain web/one", "maint web/one",
		"ready web/one", "add web 127.0.0.1:1", "remove web/one", "sessions", "sessions --watch", "kill --all", "rebalance web",
	} {
		var out, problems strings.Builder
		status := execute(append(strings.Fields(line), "--socket", filepath.Join(t.TempDir(), "s.sock")), &out, &problems)
		if status != exitFailed || out.Len() > 0 || !strings.HasPrefix(problems.String(), "sluice: nothing listens at ") {
			t.Errorf("%s: exit status %d, with\n%s%s", line, status, out.String(), problems.String())
		}
	}
}

func TestStatusOfChanges(t *testing.T) {
	s := newAnswering(t)
	s.run("status", []reply{{"GET /api/v1/status", 200, `{"version": "v1",
		"generation": {"number": 4, "since": "2026-01-02T03:04:05Z", "last_reload": {"at": "2026-01-02T03:04:06Z", "ok": false, "error": "x",
			"problems": [{"file": "a.yaml", "line": 2, "column": 1, "message": "wrong"}]},
			"pending": [{"key": "loops", "from": "", "to": "4"}]},
		"listeners": [{"name": "old", "leaving": true, "sessions": 1}],
		"overrides": [{"pool": "web", "backend": "one", "key": "state", "value": "drain", "since": "2026-01-02T03:04:05Z", "by": "root", "in_file": "ready"},
			{"pool": "gone", "backend": "b", "key": "weight", "value": "3", "since": "2026-01-02T03:04:05Z", "dormant": true}]}`}},
		0, `generation 4, in force since 2026-01-0\d \d\d:\d\d:05
the last reload, at 2026-01-0\d \d\d:\d\d:06, has FAILED and changed nothing:
  a.yaml:2:1: wrong
loops: default -> 4: waits for the next start or upgrade
.*
listener old: takes no new sessions any more, 1 session goes on until the end
.*
OVERRIDE +KEY +VALUE +IN FILE +SINCE +BY
web/one +state +drain +ready +2026-01-0\d \d\d:\d\d:05 +root
gone/b +weight +3 +- +2026-01-0\d \d\d:\d\d:05 +-

override gone/b weight: no effect now, there is no such backend
$`, "")
}
