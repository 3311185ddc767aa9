package change

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/configs"
)

const before = `
log: {level: info}
loops: 2
listeners:
  web: {bind: "127.0.0.1:8080", pool: web, timeouts: {idle: 1h}, deny: [{file: DENY}]}
  old: {bind: "127.0.0.1:8081", pool: web}
pools:
  web:
    retries: 1
    check: {type: http, headers: {Authorization: secret}}
    backends: [10.0.0.1:80, {address: "10.0.0.2:80", name: two, weight: 3}, 10.0.0.3:80]
  gone: {backends: [10.0.0.9:80]}
`

const after = `
log: {level: warn}
loops: 4
listeners:
  new: {bind: "127.0.0.1:8082", pool: web}
  web: {bind: "127.0.0.1:8080", pool: web, deny: [{file: DENY}], max_sessions: 5}
pools:
  more: {backends: [10.0.1.1:80, 10.0.1.2:80]}
  web:
    check: {type: http, headers: {Authorization: hidden}}
    backends: [{address: "10.0.0.22:80", name: two, weight: 3}, {address: "10.0.0.1:80", weight: 2, state: drain}, 10.0.0.4:80]
`

func TestBetween(t *testing.T) {
	deny := filepath.Join(t.TempDir(), "deny.txt")
	parse := func(text, networks string) *configs.File {
		t.Helper()
		if err := os.WriteFile(deny, []byte(networks), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := configs.Parse("t.yaml", []byte(strings.ReplaceAll(text, "DENY", deny)))
		if err != nil {
			t.Fatal(err)
		}
		l := file.Listeners
		for i := range l {
			if l[i].Allow.InForce, l[i].Deny.InForce, err = l[i].ReadAccess(); err != nil {
				t.Fatal(err)
			}
		}
		return file
	}
	f := func(from, to *configs.File, want string) {
		t.Helper()
		c := Between(from, to)
		if got := c.String(); got != strings.TrimLeft(want, "\n") {
			t.Errorf("got\n%swant%s", got, want)
		}
		if c.Empty() != (want == "") {
			t.Errorf("Empty is %v", c.Empty())
		}
	}
	one, two := parse(before, "10.0.0.0/8\n"), parse(after, "10.0.0.0/8\n192.0.2.0/24\n")
	f(one, one, "")
	f(one, parse(before, "# nobody\n"), `
~ listener web deny: 1 network -> 0 networks
`)
	f(one, two, `
~ log.level: info -> warn
+ listener new
~ listener web max_sessions: default -> 5
~ listener web timeouts.idle: 1h -> default
~ listener web deny: 1 network -> 2 networks
- listener old
+ pool more with 2 backends
~ pool web check.headers.Authorization
~ pool web retries: 1 -> default
+ backend web/two at 10.0.0.22:80
~ backend web/10.0.0.1:80 state: ready -> drain
~ backend web/10.0.0.1:80 weight: 1 -> 2
+ backend web/10.0.0.4:80
- backend web/two
- backend web/10.0.0.3:80
- pool gone
! loops: 2 -> 4: waits for the next start or upgrade
`)
	f(nil, parse(before, ""), `
~ log.level: default -> info
+ listener web
+ listener old
+ pool web with 3 backends
+ pool gone with 1 backend
! loops: default -> 2: waits for the next start or upgrade
`)
}
