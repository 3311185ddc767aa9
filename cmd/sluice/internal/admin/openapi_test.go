package admin

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/cmd/sluice/internal/change"
	"sluice/cmd/sluice/internal/overrides"
	"sluice/configs"
)

// described is what the tests read of the description.
type described struct {
	OpenAPI string
	Paths   map[string]map[string]operation
}

type operation struct {
	Parameters []struct{ Name, In string }
	Responses  map[string]any
}

// description fetches the description, and returns a function that checks an answer against it.
func description(t *testing.T, c *client) (d described, check func(method, path string, answer *http.Response, body string)) {
	t.Helper()
	_, body := c.do("GET", "/api/v1/openapi.json")
	if err := json.Unmarshal([]byte(body), &d); err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	escape := strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D")
	return d, func(method, path string, answer *http.Response, body string) {
		t.Helper()
		status := strconv.Itoa(answer.StatusCode)
		if d.Paths[path][strings.ToLower(method)].Responses[status] == nil {
			t.Errorf("%s %s: %s is not described", method, path, status)
			return
		}
		if !strings.HasPrefix(answer.Header.Get("Content-Type"), "application/json") {
			return
		}
		s, err := compiler.Compile("openapi.json#/paths/" + escape.Replace(path) + "/" + strings.ToLower(method) + "/responses/" + status +
			"/content/application~1json/schema")
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		instance, err := jsonschema.UnmarshalJSON(bytes.NewReader([]byte(body)))
		if err != nil {
			t.Fatalf("%s %s: %v\n%s", method, path, err, body)
		}
		if err := s.Validate(instance); err != nil {
			t.Errorf("%s %s: %v\n%s", method, path, err, body)
		}
	}
}

// concrete fills in the names of a path.
func concrete(path string) string {
	return strings.NewReplacer("{pool}", "web", "{backend}", "a").Replace(path)
}

// TestDescribedIsServed walks everything that is described: each path, method and parameter has a handler that knows it,
// and each answer is as described.
func TestDescribedIsServed(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Control = follower{new(recorder), nil}
	o.Visit = visiting(someSessions())
	_, _, socket := serve(t, o)
	d, check := description(t, socket)
	if d.OpenAPI != "3.1.1" {
		t.Errorf("OpenAPI %q", d.OpenAPI)
	}
	bodies := map[string]string{
		"PATCH /api/v1/pools/{pool}/backends/{backend}/overrides": `{"weight":1}`,
		"POST /api/v1/pools/{pool}/backends":                      `{"address":"127.0.0.1:2"}`,
	}
	values := map[string]string{
		"dry_run": "true", "all": "true", "limit": "1", "idle": "1s", "older": "1s", "client": "192.0.2.1", "rate": "50/s", "id": "1",
		"pool": "web", "listener": "on%20web",
	}
	needed := map[string]string{"DELETE " + sessionsPath: "all=true"}
	for path, methods := range d.Paths {
		for method, o := range methods {
			method = strings.ToUpper(method)
			ask := func(query string) {
				t.Helper()
				answer, body := socket.send(method, concrete(path)+"?"+query, bodies[method+" "+path])
				if answer.StatusCode > 201 && (path != takeOverPath || answer.StatusCode != http.StatusUpgradeRequired) {
					t.Errorf("%s %s?%s: %s %s", method, path, query, answer.Status, body)
				}
				check(method, path, answer, body)
			}
			ask(needed[method+" "+path])
			for _, p := range o.Parameters {
				if p.In == "query" {
					ask(p.Name + "=" + cmpOr(values[p.Name], "a") + "&" + excluded(p.Name, needed[method+" "+path]))
				}
			}
			if !strings.HasPrefix(path, "/api/") {
				continue
			}
			if answer, body := socket.send(method, concrete(path)+"?surely_unknown=1", bodies[method+" "+path]); answer.StatusCode != 400 {
				t.Errorf("%s %s takes a parameter that is not described: %s", method, path, answer.Status)
			} else {
				check(method, path, answer, body)
			}
		}
	}
}

func cmpOr(a, b string) string {
	if a == "" {
		return b
	}
	return a
}

// excluded returns what a request needs beside a parameter: what chooses sessions excludes that all are meant.
func excluded(parameter, needed string) string {
	if parameter == "rate" || parameter == "dry_run" {
		return needed
	}
	return ""
}

// TestServedIsDescribed walks every handler: nothing is served that is not described, with all of its methods.
func TestServedIsDescribed(t *testing.T) {
	o := options(newPool(t, "web", "a"))
	o.Control = new(recorder)
	s, _, socket := serve(t, o)
	d, _ := description(t, socket)
	mux := s.routes(true)
	methods := []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"}
	for path, of := range d.Paths {
		want := slices.Sorted(maps.Keys(of))
		var got []string
		for _, method := range methods {
			if _, pattern := mux.Handler(httptest.NewRequest(method, concrete(path), nil)); pattern != "" && method != "HEAD" {
				got = append(got, strings.ToLower(method))
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s is served with %v, described with %v", path, got, want)
		}
	}
	n := 0
	for _, of := range d.Paths {
		n += len(of)
	}
	if n != len(endpoints) {
		t.Errorf("%d endpoints, %d are described", len(endpoints), n)
	}
}

// TestSchemas: what an answer may have is described, and nothing else passes.
func TestSchemas(t *testing.T) {
	o := options(usedPool(t))
	r := new(recorder)
	o.Control = r
	r.generationOnly.now = Generation{
		Number: 3, Pending: []change.Key{{Key: "loops", From: "1", To: "2"}},
		LastReload: &LastReload{Error: "no", Problems: configs.Problems{{File: "f", Line: 1, Column: 2, Message: "m"}}},
	}
	r.generationOnly.set = []OverrideStatus{{Setting: overrides.Setting{Pool: "shop", Backend: "a", Key: "weight", Value: "7"}, InFile: "3"}}
	_, tcp, socket := serve(t, o)
	_, check := description(t, socket)
	answer, body := tcp.do("GET", "/api/v1/status")
	if !strings.Contains(body, `"key": "weight"`) {
		t.Errorf("what is set is not told: %s", body)
	}
	check("GET", "/api/v1/status", answer, body)
	for _, err := range []error{configs.Problems{{File: "f", Line: 1, Message: "m"}}, Invalidf("no")} {
		r.err = err
		answer, body = socket.do("POST", "/api/v1/reload")
		check("POST", "/api/v1/reload", answer, body)
	}
}
