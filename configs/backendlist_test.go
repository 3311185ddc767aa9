package configs

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/pool"
	"sluice/pool/discovery"
	"sluice/pool/discovery/file"
)

func ptr[T any](v T) *T { return &v }

// TestParseBackendList: every form of a list comes to the same, in YAML and in JSON.
func TestParseBackendList(t *testing.T) {
	t.Setenv("SLUICE_T_WEIGHT", "7")
	f := func(text string, inJSON bool, want ...discovery.Found) {
		t.Helper()
		got, err := ParseBackends("app.yaml", []byte(text))
		if err != nil || got == nil || len(got) != len(want) || len(want) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\ngot  %+v, error %v\nwant %+v", text, got, err, want)
		}
		if _, ok := jsonBackends([]byte(text)); ok != inJSON {
			t.Errorf("%s: read as JSON: %t, want %t", text, ok, inJSON)
		}
	}
	one, two := discovery.Found{Address: tcp("10.0.0.1:80")}, discovery.Found{Address: tcp("10.0.0.2:80")}
	full := discovery.Found{Name: "b", Address: tcp("[2001:db8::1]:80"), Settings: discovery.Settings{
		Weight: ptr(0), MaxConns: ptr(5), Backup: ptr(false), State: ptr(pool.Drain),
	}}
	f("- 10.0.0.1:80\n- 10.0.0.2:80\n", false, one, two)
	f("[10.0.0.1:80, 10.0.0.2:80]", false, one, two)
	f(`["10.0.0.1:80", "10.0.0.2:80"]`, true, one, two)
	f("{\n\t\"backends\": [\n\t\t\"10.0.0.1:80\",\n\t\t{\"address\": \"10.0.0.2:80\"}\n\t]\n}\n", true, one, two)
	f("# a comment\nbackends:\n- 10.0.0.1:80\n- {address: 10.0.0.2:80}\n", false, one, two)
	f("backends: 10.0.0.1:80", false, one)
	f("10.0.0.1:80", false, one)
	f("- {name: b, address: \"[2001:db8::1]:80\", weight: 0, max_conns: 5, backup: false, state: drain}", false, full)
	f(`[{"state": "drain", "backup": false, "max_conns": 5, "weight": 0, "address": "[2001:DB8::1]:80", "name": "b"}]`, true, full)
	f("[]", true)
	f(" {\"backends\" : [ ] } ", true)
	f("backends: []", false)
	f("--- # none\n[]", false)
	f(`["unix:\/run\/x"]`, false, discovery.Found{Address: pool.Address{Unix: "/run/x"}})

	host := discovery.Found{Name: "db", Address: pool.Address{TCP: tcp("[::]:5432").TCP}, Host: "db.internal"}
	host.Address, _, _ = parseAddress("db.internal:5432", addressRules{})
	f("- {name: db, address: db.internal:5432}", false, host)
	f(`[{"name": "db", "address": "db.internal:5432"}]`, true, host)

	weighted := discovery.Found{Address: one.Address, Settings: discovery.Settings{Weight: ptr(7), Backup: ptr(true)}}
	f("- {<<: &b {backup: true}, address: 10.0.0.1:80, weight: ${SLUICE_T_WEIGHT}}\n- {<<: *b, address: 10.0.0.2:80}", false, weighted,
		discovery.Found{Address: two.Address, Settings: discovery.Settings{Backup: ptr(true)}})
}

// TestBadBackendLists: what is wrong with a list is said with its line, in JSON as in YAML, on one line.
func TestBadBackendLists(t *testing.T) {
	f := func(text string, want ...string) {
		t.Helper()
		got, err := ParseBackends("app.yaml", []byte(text))
		var problems Problems
		if got != nil || !errors.As(err, &problems) {
			t.Errorf("%s: got %+v, error %v", text, got, err)
			return
		}
		var messages []string
		for _, p := range problems {
			messages = append(messages, p.String())
		}
		if !reflect.DeepEqual(messages, want) {
			t.Errorf("%s:\ngot  %s\nwant %s", text, strings.Join(messages, "\n     "), strings.Join(want, "\n     "))
		}
		line := want[0]
		switch len(want) {
		case 1:
		case 2:
			line += "; 1 more problem"
		default:
			line += fmt.Sprintf("; %d more problems", len(want)-1)
		}
		if err.Error() != line {
			t.Errorf("%s:\ngot  %s\nwant %s", text, err, line)
		}
	}
	const empty = "app.yaml:1:1: the file is empty: write a list of backends, for example [10.0.0.1:80], or [] for none"
	f("", empty)
	f("\n# nothing yet\n", empty)
	f("---\n", empty)
	f("null", "app.yaml:1:1: the file has no value: write a list of backends, for example [10.0.0.1:80], or [] for none")
	f("backends:", "app.yaml:1:1: backends has no value: write a list of backends, for example [10.0.0.1:80], or [] for none")
	f("- 10.0.0.1:80\n- 10.0.0.2\n", `app.yaml:2:3: "10.0.0.2" has no port: write 10.0.0.2:PORT`)
	f("[\n\t\"10.0.0.1:80\",\n\t\"10.0.0.2\"\n]", `app.yaml:3:2: "10.0.0.2" has no port: write 10.0.0.2:PORT`)
	f("- {address: 10.0.0.1:80, weight: 300}\n- {addres: 10.0.0.2:80}\n- 5\n",
		"app.yaml:1:34: weight is 300: write a whole number from 0 to 256",
		`app.yaml:2:4: unknown key "addres" in backend: did you mean address?`,
		"app.yaml:3:3: backend must be an address (HOST:PORT, [IPV6]:PORT or unix:/PATH), for example 10.0.0.1:80, not the number 5")
	f("[10.0.0.1:80,\n {name: a, address: 10.0.0.2:80}, {name: a, address: 10.0.0.3:80}, 10.0.0.1:80]",
		`app.yaml:2:35: duplicate backend "a" in this file: the first is on line 2, give this one another name`,
		`app.yaml:2:68: duplicate backend "10.0.0.1:80" in this file: the first is on line 1, give this one another name`)
	f(`[{"address": "10.0.0.1:80", "weight": 1, "weight": 2}, {"address": "10.0.0.2:80", "state": "up"}]`,
		`app.yaml:1:42: duplicate key "weight": the first is on line 1`,
		`app.yaml:1:92: state must be one of ready, drain, maint, not "up"`)
	f(`["10.0.0.1:80", "10.0.0.2:8`, "app.yaml:1:17: not valid YAML: could not find end character of double-quoted text")
	f(`["10.0.0.1:80", `, "app.yaml:1:1: not valid YAML: sequence end token ']' not found")
	f(`[{"address": "10.0.0.1:80"}, {"address": null}, {"address": "10.0.0.1:80", "max_conns": 1.5}]`,
		"app.yaml:1:31: address has no value: write an address (HOST:PORT, [IPV6]:PORT or unix:/PATH), for example 10.0.0.1:80",
		"app.yaml:1:89: max_conns must be a whole number, 0 or more, not the number 1.5")
	f("pools: {a: {backends: [10.0.0.1:80]}}", `app.yaml:1:1: unknown key "pools" in the file: the keys are backends`,
		"app.yaml:1:1: the file has no backends: add one, for example backends: [10.0.0.1:80]")
	f("backends: [10.0.0.1:80]\nweight: 1", `app.yaml:2:1: unknown key "weight" in the file: the keys are backends`)
	f("- ${SLUICE_T_NONE}", "app.yaml:1:3: variable SLUICE_T_NONE is not set: set it, or write ${SLUICE_T_NONE:-DEFAULT}")
	f("- 10.0.0.1:80\n\x00", "app.yaml:2:1: invalid character U+0000: this is not a text file in UTF-8")
	f("- 10.0.0.1:80\n--- \n- 10.0.0.2:80", "app.yaml:3:1: a second YAML document: a configuration is one document, remove the line --- or ...")
	f(strings.Repeat(" ", file.MaxSize+1), "app.yaml: the file is larger than 4 MiB: this is no list of backends")
}
