package configs

// A shape is what the JSON Schema says of a value.
type shape map[string]any

func objectOf[T any](fs fields[T]) shape { return nil }
