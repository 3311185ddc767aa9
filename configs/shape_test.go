package configs

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validate holds a configuration to the schema, as an editor does.
func validate(t *testing.T, schema *jsonschema.Schema, text string) error {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	instance, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return schema.Validate(instance)
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("sluice.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("sluice.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSchemaTakesSamples(t *testing.T) {
	schema := compiledSchema(t)
	for _, name := range Samples() {
		data, _ := Sample(name)
		if err := validate(t, schema, string(data)); err != nil {
			t.Errorf("sample %s: %v", name, err)
		}
	}
	for _, good := range []string{
		"pools: {web: {retries: \"${N}\", backends: [{address: h:1, weight: \"${W:-5}\", state: \"${S}\"}]}}",
		"x-anything: {goes: 1}", "defaults: {pools: {retries: 1, timeouts: {connect: 1.5s}}, listeners: {pool: web}}",
		"pools: {web: {check: {type: http, status: [200, 300-399], tls: \"${T}\"}, backends: h:1}}",
		"listeners: {web: {bind: :80, routes: [{sni: a, pool: b}], allow: [10.0.0.1, {file: x}]}}",
		"pools: {web: {discover: [{dns: app:80}, {dns: {name: app, port: 80, resolver: []}}, {file: x}, {docker: app}, {docker: {}}]}}",
		"pools: {web: {discover: {docker: }, on_empty: keep, remove_after: 0s, template: {weight: 0, max_conns: 1, state: drain}}}",
		"admin: {socket: /run/s, hosts: lb1}", "admin: {socket: {mode: 0660, user: 7, group: ops}, hosts: [lb1, lb2]}",
		"listeners: {web: {bind: unix:/run/s, pool: web, socket: {mode: \"660\", user: www-data, group: 33}}}",
	} {
		if err := validate(t, schema, good); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
}

func TestSchemaRefuses(t *testing.T) {
	schema := compiledSchema(t)
	for _, bad := range []string{
		"loop: 1", "loops: -1", "loops: many", "loops: 2000", "admin: {listen: 5}", "log: {level: loud}", "[]",
		"listeners: {web: {pool: web}}", "listeners: {web: {bind: [], pool: web}}", "listeners: {web: {bind: 80}}",
		"listeners: {web: {bind: :80, timeouts: {idle: 5}}}", "listeners: {web: {bind: :80, timeouts: {idle: soon}}}",
		"listeners: {web: {bind: :80, routes: [{sni: a}]}}", "listeners: {web: {bind: :80, freebind: maybe}}",
		"pools: {web: {discover: [app:80]}}", "pools: {web: {backends: [{weight: 1}]}}", "pools: {web: {backends: [{address: h:1, weight: 257}]}}",
		"pools: {web: {backends: h:1, check: {type: htpp}}}", "pools: {web: {backends: h:1, balance: best}}",
		"pools: {web: {backends: h:1, on_down: {failed: {sessions: drop}}}}", "pools: {web: {backends: h:1, tlvs: x}}",
		"pools: {web: {discover: {dns: {port: 80}}}}", "pools: {web: {discover: [{dns: app:80, ttl: 5}]}}",
		"pools: {web: {discover: {docker: [app]}}}", "pools: {web: {discover: {file: {path: x}}}}", "pools: {web: {discover: []}}",
		"pools: {web: {discover: {dns: {name: app, port: 80, type: mx}}}}", "pools: {web: {backends: h:1, on_empty: drop}}",
		"pools: {web: {discover: {dns: {name: app, port: 80, resolver: 53}}}}", "pools: {web: {backends: h:1, remove_after: 30}}",
		"pools: {web: {discover: {docker: {port: 65536}}}}", "pools: {web: {backends: h:1, template: {name: x}}}",
		"pools: {web: {backends: h:1, source: 5}}", "defaults: {pools: {discover: {docker: app}}}", "defaults: {pools: {backends: [h:1]}}", "defaults: {listeners: {bind: :80}}", "defaults: {retries: 1}",
		"admin: {socket: 1}", "admin: {socket: {owner: me}}", "admin: {hosts: [1]}", "listeners: {web: {bind: unix:/s, socket: /s}}",
	} {
		if validate(t, schema, bad) == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}

// TestSchemaSaysSomethingOfEveryKey finds rows of the tables of which the schema does not say what their value may be.
func TestSchemaSaysSomethingOfEveryKey(t *testing.T) {
	var document any
	if err := json.Unmarshal(Schema(), &document); err != nil {
		t.Fatal(err)
	}
	if keys := lookShapes(t, "", document); keys < 80 {
		t.Errorf("%d keys found", keys)
	}
}

// lookShapes returns how many keys a part of the schema describes.
func lookShapes(t *testing.T, path string, part any) (keys int) {
	switch part := part.(type) {
	case []any:
		for _, p := range part {
			keys += lookShapes(t, path, p)
		}
	case map[string]any:
		for name, p := range part {
			if name != "properties" {
				keys += lookShapes(t, path, p)
				continue
			}
			for key, shape := range p.(map[string]any) {
				keys++
				if len(shape.(map[string]any)) == 0 {
					t.Errorf("the schema takes anything for %s.%s", path, key)
				}
				keys += lookShapes(t, path+"."+key, shape)
			}
		}
	}
	return keys
}
