package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/user"
	"reflect"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"sluice/cmd/sluice/internal/change"
	"sluice/configs"
	"sluice/pool"
)

// A recorder is a Control that notes what it is asked for, and answers with err.
type recorder struct {
	generationOnly
	asked []any // of the last call
	err   error

	now, most atomic.Int32 // calls at a time
	step      chan struct{}
}

func (r *recorder) note(asked ...any) (change.Change, error) {
	r.most.Store(max(r.most.Load(), r.now.Add(1)))
	defer r.now.Add(-1)
	if r.step != nil {
		<-r.step
	}
	r.asked = asked
	return change.Change{Generation: 7, Pools: []change.Thing{{Name: "web", What: change.Changed}}}, r.err
}

func (r *recorder) Reload(_ context.Context, asked Reload) (change.Change, error) {
	return r.note("reload", asked.Files, asked.By)
}

func (r *recorder) Override(_ context.Context, pool, backend string, set map[string]string, by By) (change.Change, error) {
	return r.note("override", pool, backend, set, by)
}

func (r *recorder) Unset(_ context.Context, pool, backend string, keys []string, by By) (change.Change, error) {
	return r.note("unset", pool, backend, keys, by)
}

func (r *recorder) AddBackend(_ context.Context, pool string, b NewBackend, by By) (change.Change, error) {
	return r.note("add", pool, b, by)
}

func (r *recorder) RemoveBackend(_ context.Context, pool, backend string, by By) (change.Change, error) {
	return r.note("remove", pool, backend, by)
}

func (r *recorder) Rebalance(_ context.Context, pool string, by By) (Rebalanced, error) {
	_, err := r.note("rebalance", pool, by)
	return Rebalanced{Pool: pool, Backends: []Surplus{{"a", 6, 3}}, Ended: 3}, err
}

// TestRebalance: it is asked of a pool, and waits for no change.
func TestRebalance(t *testing.T) {
	r := new(recorder)
	o := options(newPool(t, "web", "a"))
	o.Control = r
	_, tcp, socket := serve(t, o)
	f := func(query string, want By) {
		t.Helper()
		const answer = `{"pool": "web", "backends": [{"backend": "a", "sessions": 6, "surplus": 3}], "ended": 3}`
		got, text := socket.send("POST", "/api/v1/pools/web/rebalance"+query, "")
		if got.StatusCode != 200 || !sameJSON(t, text, answer) || !reflect.DeepEqual(r.asked, []any{"rebalance", "web", want}) {
			t.Errorf("%s: %s %s, asked for %v", query, got.Status, text, r.asked)
		}
	}
	f("", By{User: me(t)})
	f("?dry_run=true", By{User: me(t), DryRun: true})
	r.err = Conflictf("of no use")
	if got, _ := socket.send("POST", "/api/v1/pools/web/rebalance", ""); got.StatusCode != 409 {
		t.Errorf("a conflict: %s", got.Status)
	}
	if got, _ := tcp.send("POST", "/api/v1/pools/web/rebalance", ""); got.StatusCode != 405 {
		t.Errorf("at the TCP address: %s", got.Status)
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Error(err)
	}
	return reflect.DeepEqual(x, y)
}

// me is who the tests are at the control socket.
func me(t *testing.T) string {
	t.Helper()
	id := strconv.Itoa(os.Getuid())
	if u, err := user.LookupId(id); err == nil {
		return u.Username
	}
	return "uid " + id
}

// TestChanges: what a request asks for comes to the Control, with who asks, and its answer goes back.
func TestChanges(t *testing.T) {
	r := new(recorder)
	o := options(newPool(t, "web", "a"))
	o.Control = r
	_, tcp, socket := serve(t, o)
	by, dry := By{User: me(t)}, By{User: me(t), DryRun: true}
	f := func(method, path, body string, status int, want ...any) {
		t.Helper()
		r.asked = nil
		answer, text := socket.send(method, path, body)
		var got change.Change
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != status || got.Generation != 7 {
			t.Fatalf("%s %s: %s, %v\n%s", method, path, answer.Status, err, text)
		}
		if !reflect.DeepEqual(r.asked, want) {
			t.Errorf("%s %s asks for %v, want %v", method, path, r.asked, want)
		}
		if answer, _ := tcp.send(method, path, body); answer.StatusCode != 405 {
			t.Errorf("%s %s at the TCP address: %s", method, path, answer.Status)
		}
	}
	f("POST", "/api/v1/reload", "", 200, "reload", []configs.SourceText(nil), by)
	f("POST", "/api/v1/reload?dry_run=true", "", 200, "reload", []configs.SourceText(nil), dry)
	f("POST", "/api/v1/reload?dry_run=true", `{"files":[{"name":"a.yaml","text":"x: 1"}]}`, 200,
		"reload", []configs.SourceText{{Name: "a.yaml", Text: "x: 1"}}, dry)
	f("PATCH", "/api/v1/pools/web/backends/10.0.0.1:80/overrides", `{"state":"drain","weight":5,"max_conns":"10"}`, 200,
		"override", "web", "10.0.0.1:80", map[string]string{"state": "drain", "weight": "5", "max_conns": "10"}, by)
	f("PATCH", "/api/v1/pools/a%20b/backends/unix:%2Frun%2Fx.sock/overrides?dry_run=true", `{"weight":0}`, 200,
		"override", "a b", "unix:/run/x.sock", map[string]string{"weight": "0"}, dry)
	f("DELETE", "/api/v1/pools/web/backends/a/overrides", "", 200, "unset", "web", "a", []string(nil), by)
	f("DELETE", "/api/v1/pools/web/backends/a/overrides?key=weight&key=state&dry_run=true", "", 200,
		"unset", "web", "a", []string{"weight", "state"}, dry)
	f("POST", "/api/v1/pools/web/backends", `{"address":"10.0.0.2:80"}`, 201,
		"add", "web", NewBackend{Address: "10.0.0.2:80", Set: map[string]string{}}, by)
	f("POST", "/api/v1/pools/web/backends", `{"address":"10.0.0.2:80","name":"b","weight":3,"backup":true,"state":"maint"}`, 201,
		"add", "web", NewBackend{Address: "10.0.0.2:80", Name: "b",
			Set: map[string]string{"weight": "3", "backup": "true", "state": "maint"}}, by)
	f("DELETE", "/api/v1/pools/web/backends/a?dry_run=false", "", 200, "remove", "web", "a", by)
}

// TestWrongRequests: nothing comes to the Control of what is not understood, and the answer says what to write instead.
func TestWrongRequests(t *testing.T) {
	r := new(recorder)
	o := options(newPool(t, "web", "a"))
	o.Control = r
	_, _, socket := serve(t, o)
	f := func(method, path, body, want string) {
		t.Helper()
		answer, text := socket.send(method, path, body)
		var got Failure
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != 400 || got.Error != want {
			t.Errorf("%s %s: %s %s, want 400 %q", method, path, answer.Status, text, want)
		}
		if r.asked != nil {
			t.Errorf("%s %s %s: it was asked for %v", method, path, body, r.asked)
		}
	}
	const overrides = "/api/v1/pools/web/backends/a/overrides"
	f("POST", "/api/v1/reload?dry=true", "", `unknown parameter "dry": want dry_run`)
	f("POST", "/api/v1/reload?dry_run=yes", "", `dry_run="yes": want true or false`)
	f("POST", "/api/v1/reload", `{"files":[{"name":"a","text":"b"}]}`,
		"files are for dry_run=true only: what is put in force is what sluice reads itself")
	f("POST", "/api/v1/reload", `{"file":1}`, `body: unknown key "file": want files`)
	f("PATCH", overrides, `{"wieght":1}`, `body: unknown key "wieght": want state, weight, max_conns`)
	f("PATCH", overrides, `{"weight":[1]}`, `body: [1]: want text, a number, true or false`)
	f("PATCH", overrides, `{"weight":1} {}`, "body: there is something after the object")
	f("PATCH", overrides, `{"weight":1} }`, "body: there is something after the object")
	f("PATCH", overrides, `{"weight":1`, "body: unexpected EOF")
	f("PATCH", overrides, `[]`, "body: want an object, not array")
	f("POST", "/api/v1/reload", `{"files":"a.yaml"}`, "body: files: want a list, not string")
	f("POST", "/api/v1/pools/web/backends", `{"address":80}`, "body: address: want text, not number")
	f("PATCH", overrides, `weight=1`, "body: invalid character 'w' looking for beginning of value")
	f("DELETE", overrides, `{}`, "there is to be no body")
	f("DELETE", overrides+"?key=", ``, "key: want a value")
	f("POST", "/api/v1/pools/web/backends", `{"name":"b"}`, "body: address is missing: want HOST:PORT, [IPV6]:PORT or unix:/PATH")
	f("POST", "/api/v1/pools/web/backends", `{"address":"b","color":1}`,
		`body: unknown key "color": want address, name, state, weight, max_conns, backup`)
	f("DELETE", "/api/v1/pools/web/backends/a?force=true", "", `unknown parameter "force": want dry_run`)
	f("PATCH", overrides, `{"state":"`+strings.Repeat("x", maxBody)+`"}`, "the body has more than 16 MiB")
}

// TestFailures: the status says what kind of error it is, and a configuration that is wrong is answered with all of it.
func TestFailures(t *testing.T) {
	r := new(recorder)
	o := options(newPool(t, "web", "a"))
	o.Control = r
	_, _, socket := serve(t, o)
	problem := configs.Problem{File: "s.yaml", Line: 3, Message: "no such key"}
	f := func(err error, status int, want string, problems ...configs.Problem) {
		t.Helper()
		r.err = err
		answer, text := socket.do("POST", "/api/v1/reload")
		var got Failure
		if err := json.Unmarshal([]byte(text), &got); err != nil || answer.StatusCode != status {
			t.Fatalf("%s, %v\n%s", answer.Status, err, text)
		}
		if got.Error != want || !reflect.DeepEqual([]configs.Problem(got.Problems), problems) {
			t.Errorf("%v is answered with %q, %v; want %q, %v", err, got.Error, got.Problems, want, problems)
		}
	}
	f(configs.Problems{problem}, 422, "the configuration is wrong: "+problem.String(), problem)
	f(fmt.Errorf("reload: %w", configs.Problems{problem, problem}), 422,
		"the configuration is wrong: "+problem.String()+" (and 1 more)", problem, problem)
	f(WrongConfig(errors.New("allow.txt:1: no network")), 422, "allow.txt:1: no network")
	f(Invalidf("weight is %d", 900), 400, "weight is 900")
	f(NotFoundf("there is no pool"), 404, "there is no pool")
	f(Conflictf("it is there"), 409, "it is there")
	f(errors.New("bind: no"), 500, "bind: no")
}

// TestChangesOneByOne: they do not wait as scrapes do, and none begins before the one before has ended.
func TestChangesOneByOne(t *testing.T) {
	r := &recorder{step: make(chan struct{})}
	o := options(newPool(t, "web", "a"))
	o.Control = r
	_, _, socket := serve(t, o)
	const many = SocketConns - 2
	done := make(chan int)
	for range many {
		go func() {
			answer, _ := socket.do("POST", "/api/v1/reload")
			done <- answer.StatusCode
		}()
	}
	socket.do("GET", "/api/v1/status") // is answered all the same
	socket.do("DELETE", "/api/v1/sessions?id=1")
	for range many {
		r.step <- struct{}{}
		if status := <-done; status != 200 {
			t.Errorf("status %d", status)
		}
	}
	if n := r.most.Load(); n != 1 {
		t.Errorf("%d at a time", n)
	}
}

// TestBackend: one that was removed is told of until its last session has ended.
func TestBackend(t *testing.T) {
	web := newPool(t, "web", "a", "b")
	_, tcp, _ := serve(t, options(web))
	f := func(path string, status int, want string) {
		t.Helper()
		if answer, text := tcp.do("GET", "/api/v1/pools/"+path); answer.StatusCode != status || !strings.Contains(text, want) {
			t.Errorf("%s: %s %s, want %d %s", path, answer.Status, text, status, want)
		}
	}
	f("web/backends/b", 200, `"name": "b"`)
	f("web/backends/c", 404, `no backend \"c\": there are a, b`)
	f("mail/backends/c", 404, `no pool \"mail\": there are web`)
	b := web.Backends()[1]
	web.Backends()[0].SetUp(false)
	if got, err := web.Reserve(netip.Addr{}, nil); got != b {
		t.Fatalf("the slot is one of %v, %v", got, err)
	}
	if _, err := web.Update(pool.Config{Name: "web", Backends: []pool.BackendConfig{
		{Name: "a", Weight: 1, Address: pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")}},
	}}); err != nil {
		t.Fatal(err)
	}
	f("web/backends/b", 200, `"active": 1`)
	f("web/backends/d", 404, `there are a"`)
	if _, text := tcp.do("GET", "/api/v1/status"); !strings.Contains(text, `"leaving": [`) {
		t.Errorf("status: %s", text)
	}
	b.Release()
	f("web/backends/b", 404, "no backend")
}
