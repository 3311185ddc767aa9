package configs

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
)

// writeFiles writes files into a new folder and returns it. Each is a name and its text.
func writeFiles(t *testing.T, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	for i := 0; i < len(files); i += 2 {
		path := filepath.Join(dir, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLoadSeveral(t *testing.T) {
	dir := writeFiles(t,
		"main.yaml", "log: {level: warn}\nlisteners: {web: {bind: \":80\", pool: web, deny: {file: no.txt}}}\n",
		"d/20.yml", "pools:\n  api:\n    backends: [10.0.0.2:80]\n",
		"d/10.yaml", "pools:\n  web:\n    backends: [10.0.0.1:80]\nlog: {format: json}\n",
		"d/15.yaml", "# nothing yet\n",
		"d/30.yaml", "defaults: {pools: {retries: 7}}\nlisteners: {app: {bind: \":81\", pool: api, deny: {file: no.txt}}}\n",
		"d/40.yaml", "defaults: {pools: {queue: {max: 9}}, listeners: {pool: api}}\nlisteners: {old: {bind: \":82\"}}\n",
		"d/.hidden.yaml", "what: is this\n", "d/README", "notes\n", "no.txt", "10.0.0.1\n", "d/no.txt", "10.0.0.2\n")
	file, err := Load(filepath.Join(dir, "main.yaml"), filepath.Join(dir, "d"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range file.Listeners {
		names = append(names, l.Name+" to "+l.Pool)
	}
	for _, p := range file.Pools {
		names = append(names, p.Config.Name)
		if p.Retries != 7 || p.Config.QueueMax != 9 {
			t.Errorf("%+v", p)
		}
	}
	if want := []string{"web to web", "app to api", "old to api", "web", "api"}; !reflect.DeepEqual(names, want) {
		t.Errorf("got %v, want %v", names, want)
	}
	if file.Log.Format != FormatJSON || file.Log.Level.String() != "WARN" {
		t.Errorf("log is %+v", file.Log)
	}
	// A file that another names is looked for beside the one that names it.
	for i, want := range []string{"no.txt", "d/no.txt"} {
		if got := file.Listeners[i].Deny.Files[0]; got != filepath.Join(dir, want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestLoadSeveralProblems(t *testing.T) {
	dir := writeFiles(t,
		"a.yaml", "loops: 1\nlisteners:\n  web: {bind: \":80\", pool: web}\npools:\n  web: {backends: [10.0.0.1:80]}\n",
		"b.yaml", "loops: 2\npools:\n  web: {backends: [10.0.0.1:80]}\nlisteners:\n  api: {bind: \":80\", pool: wob}\n"+
			"defaults: {pools: {x: 1}}",
		"c.yaml", "a: b: c\n", "d/notes.txt", "", "huge.yaml", strings.Repeat("#\n", maxFileSize), "e.yaml", "# nothing\n",
		"list.yaml", "- web\n")
	f := func(want string, names ...string) {
		t.Helper()
		paths := make([]string, len(names))
		for i, name := range names {
			paths[i] = filepath.Join(dir, name)
		}
		_, err := Load(paths...)
		if err == nil {
			t.Errorf("%v load", names)
			return
		}
		var lines []string
		for _, line := range strings.Split(strings.ReplaceAll(err.Error(), dir+"/", ""), "\n") {
			if !strings.HasPrefix(line, "  ") {
				lines = append(lines, line)
			}
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%v:\ngot\n%s\nwant\n%s", names, got, want)
		}
	}
	f("b.yaml:1:1: duplicate key \"loops\": the first is on line 1 of a.yaml\n"+
		"b.yaml:3:3: duplicate pool \"web\": the first is on line 5 of a.yaml\n"+
		"b.yaml:5:15: :80: taken by listener \"web\" on line 3 of a.yaml: use another address or port\n"+
		"b.yaml:5:28: pool \"wob\" does not exist: did you mean web?\n"+
		"b.yaml:6:20: unknown key \"x\" in defaults.pools: the keys are "+strings.Join(withoutRequired(poolFields[:len(poolFields)-2]).keys(), ", "),
		"a.yaml", "b.yaml")
	f("c.yaml:1:4: not valid YAML: mapping value is not allowed in this context: check the indentation, and quote text that has \": \" in it",
		"e.yaml", "c.yaml")
	f("d: no *.yaml and no *.yml in this folder\nhuge.yaml: "+tooLarge+"\nnone.yaml: read file: no such file or directory",
		"d", "huge.yaml", "none.yaml", "a.yaml")
	f("list.yaml:1:1: the file must be "+fileFields.want()+", not a list", "a.yaml", "list.yaml")
	f("e.yaml:1:1: the file has no settings: it needs listeners and pools; `sluice init` prints a sample", "e.yaml", "e.yaml")
}

func TestStandardInput(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdin := os.Stdin
	os.Stdin = r
	defer func() { os.Stdin = stdin }()
	if _, err := w.WriteString("loops: x\n" + minimalText); err != nil {
		t.Fatal(err)
	}
	w.Close()
	_, err = Load("-")
	if err == nil || !strings.HasPrefix(err.Error(), "standard input:1:8: loops must be") {
		t.Error(err)
	}
}

func TestVariables(t *testing.T) {
	t.Setenv("SLUICE_T_N", "5")
	t.Setenv("SLUICE_T_EMPTY", "")
	t.Setenv("SLUICE_T_HOST", "10.0.0.9")
	t.Setenv("SLUICE_T_EVIL", "x, weight: 9}\npools: {")
	t.Setenv("SLUICE_T_TIME", "7s")
	text := `
listeners: {web: {bind: "127.0.0.1:${SLUICE_T_N}", pool: web, max_sessions: ${SLUICE_T_N}0}}
pools:
  web:
    retries: ${SLUICE_T_N}
    queue: {max: ${SLUICE_T_NONE:-12}, timeout: ${SLUICE_T_TIME}}
    check:
      type: expect
      send_proxy: ${SLUICE_T_EMPTY:-false}
      steps:
        - {send: "${SLUICE_T_EVIL}", expect_regex: '^$${SLUICE_T_N}$$|$1$'}
        - {send: "5$$", expect: '${SLUICE_T_NONE:-}${SLUICE_T_EMPTY:-a, b: {c}'}
    backends:
      - {address: ${SLUICE_T_HOST}:80, name: ${SLUICE_T_NONE:-a:b}, weight: ${SLUICE_T_N}}
      - ${SLUICE_T_HOST}:${SLUICE_T_N}0 # ${SLUICE_T_UNSET} in a comment is none
`
	file, err := parse("v.yaml", []byte(text), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	l, p := file.Listeners[0], file.Pools[0]
	if l.Bind[0] != tcp("127.0.0.1:5") || l.MaxSessions != 50 {
		t.Errorf("%+v", l)
	}
	if p.Retries != 5 || p.Config.QueueMax != 12 || p.QueueTimeout != 7*time.Second {
		t.Errorf("%+v", p)
	}
	b := p.Config.Backends
	if b[0].Address != tcp("10.0.0.9:80") || b[0].Name != "a:b" || b[0].Weight != 5 || b[1].Address != tcp("10.0.0.9:50") {
		t.Errorf("%+v", b)
	}
	steps := p.Health.Probe.Steps
	if string(steps[0].Send) != "x, weight: 9}\npools: {" || steps[0].Pattern.String() != "^${SLUICE_T_N}$|$1$" {
		t.Errorf("%q %v", steps[0].Send, steps[0].Pattern)
	}
	if string(steps[1].Send) != "5$" || string(steps[1].Want) != "a, b: {c" {
		t.Errorf("%q %q", steps[1].Send, steps[1].Want)
	}
	// A value in quotes is text, as it is without a variable.
	_, err = parse("v.yaml", []byte(strings.Replace(minimalText, "backends", `retries: "${SLUICE_T_N}"`+"\n    backends", 1)), noLookup)
	if err == nil || !strings.Contains(err.Error(), `retries must be a whole number, 0 or more, not "5"`) {
		t.Error(err)
	}
	t.Setenv("SLUICE_T_LONG", strings.Repeat("x", 32<<10))
	many := minimalText + "x-many: [" + strings.Repeat("\"${SLUICE_T_LONG}\", ", 40) + "]"
	if _, err = parse("v.yaml", []byte(many), noLookup); err == nil || !strings.Contains(err.Error(), "come to more than 1 MiB") {
		t.Error(err)
	}
}

func TestDefaultsAndAnchors(t *testing.T) {
	text := `
pools:
  web:
    check: {path: /ok}
    timeouts: {connect: 1s}
    backends: [10.0.0.1:80]
  db:
    <<: *postgres
    retries: 0
    backends: [10.0.0.1:80]
  plain: {check: {type: tcp}, tlvs: alpn, backends: *servers}
x-pools:
  postgres: &postgres {retries: 9, queue: {max: 3}, check: &check {type: postgres, user: sluice}}
listeners:
  a: {bind: ":80", pool: web, deny: 10.0.0.2}
  b: {bind: ":81", accept_proxy: {timeout: 1s}}
defaults:
  listeners: {pool: db, deny: [10.0.0.1], accept_proxy: {from: 10.0.0.0/8}, timeouts: {idle: 5m}}
  pools:
    send_proxy: v2
    timeouts: {connect: 9s, dead_peer: 7s}
    check: {type: http, path: /healthz, rise: 5}
    queue: {timeout: 4s}
`
	// Anchors come before their aliases, wherever the keys stand.
	text = strings.Replace(text, "\npools:\n", "\npools:\n  s: {backends: &servers [10.0.0.7:80]}\n", 1)
	if _, err := parse("d.yaml", []byte(text), noLookup); err == nil || !strings.Contains(err.Error(), `no anchor "&postgres"`) {
		t.Fatal(err)
	}
	before, after, _ := strings.Cut(text, "x-pools")
	head, rest, _ := strings.Cut(after, "\nlisteners")
	text = "x-pools" + head + "\n" + before + "\nlisteners" + rest
	file, err := parse("d.yaml", []byte(text), noLookup)
	if err != nil {
		t.Fatal(err)
	}
	a, b := file.Listeners[0], file.Listeners[1]
	if a.Pool != "web" || b.Pool != "db" || a.IdleTimeout != 5*time.Minute || len(a.Deny.List) != 1 ||
		a.Deny.List[0].String() != "10.0.0.2/32" || b.Deny.List[0].String() != "10.0.0.1/32" {
		t.Errorf("%+v\n%+v", a, b)
	}
	if len(b.AcceptProxy.From) != 1 || b.AcceptProxy.Timeout != time.Second || a.AcceptProxy.Timeout != 5*time.Second {
		t.Errorf("%+v %+v", a.AcceptProxy, b.AcceptProxy)
	}
	web, db, plain := file.Pool("web"), file.Pool("db"), file.Pool("plain")
	if web.ConnectTimeout != time.Second || web.DeadPeer != 7*time.Second || db.ConnectTimeout != 9*time.Second {
		t.Errorf("%+v\n%+v", web, db)
	}
	if h := web.Health; h.Probe.Kind != probe.HTTP || h.Probe.HTTP.Path != "/ok" || h.Rise != 5 {
		t.Errorf("%+v", h)
	}
	if h := db.Health; h.Probe.Kind != probe.Postgres || h.Probe.Postgres.User != "sluice" || h.Rise != 5 {
		t.Errorf("%+v", h)
	}
	if db.Retries != 0 || db.Config.QueueMax != 3 || db.QueueTimeout != 4*time.Second {
		t.Errorf("%+v", db)
	}
	if plain.Health.Probe.Kind != probe.TCP || plain.Config.Backends[0].Address != tcp("10.0.0.7:80") || len(plain.TLVs) != 1 {
		t.Errorf("%+v", plain)
	}
}
