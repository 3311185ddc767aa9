package configs

// keyNotes says which keys of a mapping are there, for what is checked when all of them were read.
type keyNotes struct {
	given map[string]value // the keys that are there
	bad   map[string]bool  // those among them that have a problem of their own, so that nothing follows from them
}

// has returns a key that is there and has no problem of its own.
func (k *keyNotes) has(key string) (value, bool) {
	v, ok := k.given[key]
	return v, ok && !k.bad[key]
}

func (k *keyNotes) note(key string, v value, bad bool) {
	if k.given == nil {
		k.given, k.bad = make(map[string]value), make(map[string]bool)
	}
	k.given[key], k.bad[key] = v, bad
}

// notes is how a draft with keyNotes in it meets noted.
func (k *keyNotes) notes() *keyNotes { return k }

// noted is a draft that notes its keys.
type noted[T any] interface {
	*T
	notes() *keyNotes
}

// noteKeys makes a table note which of its keys are there, and which of them have problems.
func noteKeys[T any, P noted[T]](fs fields[T]) fields[T] {
	for i, f := range fs {
		if f.read == nil {
			continue
		}
		fs[i].read = func(d *decoder, v value, to *T) {
			before := len(d.problems)
			f.read(d, v, to)
			P(to).notes().note(f.key, v, len(d.problems) > before)
		}
	}
	return fs
}
