package admin

import (
	"encoding"
	"reflect"
	"strings"
	"time"
)

// A schema is a JSON Schema, as far as OpenAPI 3.1 needs one.
type schema map[string]any

var text = schema{"type": "string"}

var (
	timeType    = reflect.TypeFor[time.Time]()
	schemaType  = reflect.TypeFor[schema]()
	settingType = reflect.TypeFor[setting]()
	textType    = reflect.TypeFor[encoding.TextMarshaler]()
)

// schemas are made of the Go types that answers are written from, so that they say what package encoding/json does.
type schemas map[string]schema // those of structs that have a name, by it

// of returns the schema of a type. One of a struct is kept under its name, and referred to.
func (all schemas) of(t reflect.Type) schema {
	switch {
	case t == timeType:
		return schema{"type": "string", "format": "date-time"}
	case t == settingType:
		return schema{"type": []string{"string", "number", "boolean"}}
	case t == schemaType:
		return schema{"type": "object"}
	case t.Implements(textType):
		return text
	}
	switch t.Kind() {
	case reflect.Pointer:
		return all.of(t.Elem()) // one that is nil is left out
	case reflect.Bool:
		return schema{"type": "boolean"}
	case reflect.String:
		return text
	case reflect.Float64:
		return schema{"type": "number"}
	case reflect.Uint32, reflect.Uint64:
		return schema{"type": "integer", "minimum": 0}
	case reflect.Int:
		return schema{"type": "integer"}
	case reflect.Slice:
		return schema{"type": "array", "items": all.of(t.Elem())}
	case reflect.Map:
		return schema{"type": "object", "additionalProperties": all.of(t.Elem())}
	case reflect.Struct:
		return all.ofStruct(t)
	}
	panic("no schema for " + t.String())
}

func (all schemas) ofStruct(t reflect.Type) schema {
	name := strings.ToUpper(t.Name()[:1]) + t.Name()[1:]
	if all[name] == nil {
		properties, required := schema{}, []string{}
		all[name] = schema{"type": "object", "additionalProperties": false, "properties": properties}
		all.fields(t, properties, &required)
		if len(required) > 0 {
			all[name]["required"] = required
		}
	}
	return schema{"$ref": "#/components/schemas/" + name}
}

// fields adds those of a struct, and, after them, those of what it embeds: they stand behind its own of the same name.
func (all schemas) fields(t reflect.Type, properties schema, required *[]string) {
	var embedded []reflect.Type
	for i := range t.NumField() {
		f := t.Field(i)
		tag, has := f.Tag.Lookup("json")
		name, options, _ := strings.Cut(tag, ",")
		switch {
		case f.Anonymous && !has:
			embedded = append(embedded, f.Type)
			continue
		case name == "-" || !f.IsExported() || properties[name] != nil:
			continue
		}
		properties[name] = all.of(f.Type)
		if !strings.Contains(options, "omit") {
			*required = append(*required, name)
		}
	}
	for _, e := range embedded {
		all.fields(e, properties, required)
	}
}

// keysOf returns the keys of an object that a struct is written as.
func keysOf(t reflect.Type) (keys []string) {
	for i := range t.NumField() {
		if f := t.Field(i); f.Anonymous {
			keys = append(keys, keysOf(f.Type)...)
		} else {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			keys = append(keys, name)
		}
	}
	return keys
}
