package pool

import "slices"

// match finds the backends whose configurations c are: those of before, which are in use, or of leaving, which were removed
// and have sessions still. matched has them in the order of c, nil = there is none; gone are those of before that are not in
// c, in their order. Pool.changing is held.
//
// From one configuration to the next nearly all stay, in their order. So each is looked for where the last one was found,
// and only the others by their names.
func match(before, leaving []*Backend, c []BackendConfig) (matched, gone []*Backend) {
	matched = make([]*Backend, len(c))
	var elsewhere []int // in c
	for i := range c {
		at := soon(before, c[i])
		if at < 0 {
			elsewhere = append(elsewhere, i)
			continue
		}
		matched[i] = before[at]
		gone, before = append(gone, before[:at]...), before[at+1:]
	}
	gone = append(gone, before...)
	if len(elsewhere) == 0 {
		return matched, gone
	}
	known := make(map[string][]*Backend, len(gone)+len(leaving))
	for _, all := range [][]*Backend{gone, leaving} {
		for _, b := range all {
			known[b.name] = append(known[b.name], b)
		}
	}
	stays := make(map[*Backend]bool, len(elsewhere))
	for _, i := range elsewhere {
		matched[i] = find(known[c[i].Name], c[i])
		stays[matched[i]] = true
	}
	return matched, slices.DeleteFunc(gone, func(b *Backend) bool { return stays[b] })
}

// soon returns where among the next few backends that is whose configuration c is; -1 = nowhere there.
func soon(next []*Backend, c BackendConfig) int {
	const few = 4
	for i, b := range next[:min(len(next), few)] {
		if b.is(c) {
			return i
		}
	}
	return -1
}
