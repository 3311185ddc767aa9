package takeover

import (
	"encoding"
	"encoding/json"
	"os"
	"reflect"
	"strings"
	"testing"

	"sluice/sysutil/handoff"
)

// TestPage has HANDOVER.md name every key of every message: a new one must not be forgotten there, nor the version with
// which it came.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../../../HANDOVER.md")
	if err != nil {
		t.Fatal(err)
	}
	bodies := []any{
		Version{}, handoff.PeerError{}, State{}, Ready{}, Accounts{}, Batch{}, Ack{}, Go{}, Counters{}, Over{}, Farewell{},
	}
	keys := make(map[string]string) // and in which type each is
	for _, body := range bodies {
		addKeys(reflect.TypeOf(body), keys)
	}
	if len(keys) < 100 {
		t.Fatalf("only %d keys were found", len(keys))
	}
	for key, in := range keys {
		if !strings.Contains(string(text), "`"+key+"`") {
			t.Errorf("HANDOVER.md does not name the key %q of %s: give it a row, with the version that it comes with", key, in)
		}
	}
}

// addKeys adds the keys of a type, and of what is in it. What the page leaves to the description of the API, and what has
// JSON of its own, is passed over.
func addKeys(t reflect.Type, keys map[string]string) {
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		addKeys(t.Elem(), keys)
		return
	case reflect.Struct:
	default:
		return
	}
	as := reflect.PointerTo(t)
	if as.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || as.Implements(reflect.TypeFor[json.Marshaler]()) ||
		describedByAPI[t.String()] {
		return
	}
	for f := range t.Fields() {
		key, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case key == "-" || !f.IsExported():
		case key == "" && f.Anonymous:
			addKeys(f.Type, keys)
		case key == "":
			keys[f.Name] = t.String()
		case keys[key] == "":
			keys[key] = t.String()
			fallthrough
		default:
			addKeys(f.Type, keys)
		}
	}
}

var describedByAPI = map[string]bool{
	"admin.LastReload": true, "admin.UpgradeStatus": true, "overrides.Setting": true,
}
