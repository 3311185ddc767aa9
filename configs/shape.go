package configs

import (
	"encoding/json"
	"slices"

	"sluice/l4"
)

// A shape is what the JSON Schema says of a value.
type shape map[string]any

// Schema returns the JSON Schema of a configuration (draft 2020-12), made from the same tables that read one, for editors
// that complete and check as one types. It knows nothing of what keys say of each other.
func Schema() []byte {
	s := objectOf(fileFields)
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = "sluice configuration"
	s["patternProperties"] = shape{"^x-": true}
	s["$defs"] = shape{"variable": shape{"type": "string", "pattern": `\$\{`}}
	delete(s, "required") // another file may have it
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil { // maps, lists and text can always be written
		panic("configs: write schema: " + err.Error())
	}
	return append(text, '\n')
}

// objectOf returns the shape of a mapping with these keys.
func objectOf[T any](fs fields[T]) shape {
	properties, required := shape{}, []string{}
	for _, f := range fs {
		if f.read == nil {
			continue
		}
		properties[f.key] = f.valueShape()
		if f.example != "" && f.unless == "" {
			required = append(required, f.key)
		}
	}
	s := shape{"type": "object", "properties": properties, "additionalProperties": false}
	if len(required) > 0 {
		s["required"] = required
	}
	return s
}

func (fs fields[T]) object() shape { return objectOf(fs) }

// valueShape returns what the field says of its value. A field that a reader of its own reads, and that has no keys below,
// takes anything, unless it is listed here.
func (f field[T]) valueShape() shape {
	if f.shape != nil {
		return f.shape
	}
	var below shape
	if f.sub != nil {
		below = f.sub.object()
	}
	switch {
	case slices.Contains([]string{"bind", "from", "sni", "alpn", "database", "user"}, f.key):
		return listOf(textShape)
	case f.key == "tlvs":
		return listOf(enumShape(l4.TLVWords()))
	case f.key == "headers":
		return shape{"type": "object", "additionalProperties": shape{"type": []string{"string", "number", "boolean"}}}
	case f.key == "status":
		return listOf(shape{"type": []string{"string", "integer"}})
	case f.sub == nil && slices.Contains(textKeys, f.key):
		return textShape
	case f.key == "listeners" || f.key == "pools":
		return shape{"type": "object", "additionalProperties": below}
	case f.key == "routes" || f.key == "steps":
		return listOf(below)
	case f.key == "allow" || f.key == "deny" || f.key == "backends":
		return listOf(shape{"anyOf": []shape{textShape, below}})
	case below != nil:
		return below
	}
	return shape{}
}

// textKeys are those whose readers want text.
var textKeys = []string{
	"listen", "socket", "pool", "rate", "address", "name", "method", "path", "body", "send", "send_hex", "expect",
	"expect_hex", "expect_regex",
}

var textShape = shape{"type": "string"}

// listOf returns the shape of a list, or of one thing that stands for a list of itself.
func listOf(item shape) shape {
	return shape{"anyOf": []shape{item, {"type": "array", "items": item, "minItems": 1}}}
}

// orVariable lets a variable stand for a value that is no text.
func orVariable(s shape) shape {
	return shape{"anyOf": []shape{s, {"$ref": "#/$defs/variable"}}}
}

func enumShape(words []string) shape { return orVariable(shape{"enum": words}) }

func integerShape(least, most int) shape {
	return orVariable(shape{"type": "integer", "minimum": least, "maximum": most})
}

func booleanShape() shape { return orVariable(shape{"type": "boolean"}) }

func durationShape() shape {
	return orVariable(shape{"type": "string", "pattern": `^\+?([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)`})
}
