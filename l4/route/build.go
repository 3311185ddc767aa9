package route

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// maxProtocols is how many different ALPN protocols the routes of one listener may
// ask for: the bits of a word. Some forty are registered.
const maxProtocols = 64

var (
	errNoValue     = errors.New("empty")
	errNUL         = errors.New("contains NUL, which ends a value in a start-up packet")
	errLongALPN    = errors.New("longer than the 255 bytes of an ALPN protocol")
	errManyALPN    = fmt.Errorf("more than %d different ALPN protocols on one listener", maxProtocols)
	errNeverBothOf = errors.New("sni and alpn are known of TLS only, database and user of a start-up in clear only: " +
		"no session can meet both")
)

// New builds the look-up. The error has a line for everything that is wrong, with the number of its route, from 1.
func New(list []Rule) (*Table, error) {
	r := empty(len(list))
	databases, users := countUses(list)
	var errs []error
	for i := range list {
		byUser := mostUsed(users, list[i].User) < mostUsed(databases, list[i].Database)
		for _, err := range r.add(int32(i), &list[i], byUser) {
			errs = append(errs, fmt.Errorf("route %d: %w", i+1, err))
		}
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	return r, nil
}

// empty returns a look-up with room for n routes.
func empty(n int) *Table {
	return &Table{
		exact: map[string][]int32{}, parent: map[string][]int32{},
		database: map[string][]int32{}, user: map[string][]int32{},
		protocols: map[string]uint64{},
		others:    make([]otherConditions, n),
	}
}

// Check returns what is wrong with a rule by itself.
func (r Rule) Check() error { return errors.Join(empty(1).add(0, &r, false)...) }

// inClear reports whether a rule asks for what is known of a start-up in clear.
func (r *Rule) inClear() bool { return len(r.Database)+len(r.User) > 0 }

// add lists route i by its server names, or else by its databases or users, and notes the rest of its conditions.
func (r *Table) add(i int32, rule *Rule, byUser bool) (errs []error) {
	inClear := rule.inClear()
	if inClear && len(rule.SNI)+len(rule.ALPN) > 0 {
		errs = append(errs, errNeverBothOf)
	}
	o := &r.others[i]
	errs = append(errs, check("database", rule.Database, checkStartupValue)...)
	errs = append(errs, check("user", rule.User, checkStartupValue)...)
	errs = append(errs, check("sni", rule.SNI, func(name string) error { return r.addName(i, name) })...)
	errs = append(errs, check("alpn", rule.ALPN, func(protocol string) error { return r.addProtocol(o, protocol) })...)
	switch {
	case inClear && byUser:
		addValues(r.user, i, rule.User)
		o.database = newNameSet(rule.Database)
	case inClear:
		addValues(r.database, i, rule.Database)
		o.user = newNameSet(rule.User)
	case len(rule.SNI) == 0:
		r.rest = append(r.rest, i)
	}
	return errs
}

// addName lists route i by one of its server names.
func (r *Table) addName(i int32, text string) error {
	pattern, err := parsePattern(text)
	if err != nil {
		return err
	}
	switch pattern.kind {
	case patternExact:
		addValues(r.exact, i, []string{pattern.name})
	case patternLabel:
		addValues(r.parent, i, []string{pattern.name})
	case patternAny:
		r.named = append(r.named, i)
	}
	return nil
}

// addProtocol adds to the condition of a route one ALPN protocol.
func (r *Table) addProtocol(o *otherConditions, protocol string) error {
	bit, known := r.protocols[protocol]
	switch {
	case len(protocol) > 255:
		return errLongALPN
	case !known && len(r.protocols) == maxProtocols:
		return errManyALPN
	case !known:
		bit = 1 << len(r.protocols)
		r.protocols[protocol] = bit
	}
	o.protocols |= bit
	return nil
}

func checkStartupValue(value string) error {
	if strings.Contains(value, "\x00") {
		return errNUL
	}
	return nil
}

// check calls valid for each value of a condition and names the condition and the
// value in its errors. An empty value would be met by what is not known.
func check(condition string, values []string, valid func(string) error) (errs []error) {
	for _, value := range values {
		err := errNoValue
		if value != "" {
			err = valid(value)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("%s %q: %w", condition, value, err))
		}
	}
	return errs
}

func addValues(index map[string][]int32, i int32, values []string) {
	for _, value := range values {
		index[value] = append(index[value], i)
	}
}

func newNameSet(values []string) nameSet {
	if len(values) == 0 {
		return nil
	}
	set := make(nameSet, len(values))
	for _, value := range values {
		set[value] = struct{}{}
	}
	return set
}

// countUses counts how many routes ask for each database and each user.
func countUses(list []Rule) (databases, users map[string]int) {
	databases, users = map[string]int{}, map[string]int{}
	for i := range list {
		for _, database := range list[i].Database {
			databases[database]++
		}
		for _, user := range list[i].User {
			users[user]++
		}
	}
	return databases, users
}

// mostUsed returns how many routes a session looks at in the worst case when a route is
// listed by these values; without values it cannot be, and the answer is above all others.
func mostUsed(uses map[string]int, values []string) (most int) {
	if len(values) == 0 {
		return math.MaxInt
	}
	for _, value := range values {
		most = max(most, uses[value])
	}
	return most
}
