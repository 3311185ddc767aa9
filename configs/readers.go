package configs

import (
	"encoding"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// string returns a value that is text, quoted or not. want is what is asked for when it is not.
func (d *decoder) string(v value, want string) (string, bool) {
	if !d.present(v, want) {
		return "", false
	}
	s, ok := v.node.(*ast.StringNode)
	if !ok {
		d.wrongType(v, want)
		return "", false
	}
	return s.Value, true
}

// noLimit is the upper bound of numbers that have none of their own.
const noLimit = math.MaxInt32

// number is a field with a whole number from least to most.
func number[T any](key string, least, most int, at func(*T) *int) field[T] {
	want := fmt.Sprintf("a whole number from %d to %d", least, most)
	if most == noLimit {
		want = fmt.Sprintf("a whole number, %d or more", least)
	}
	return field[T]{key: key, shape: integerShape(least, most), read: func(d *decoder, v value, to *T) {
		if !d.present(v, want) {
			return
		}
		n, err := strconv.Atoi(plain(v.node))
		switch {
		case err != nil || strconv.Itoa(n) != plain(v.node):
			d.wrongType(v, want)
		case n < least || n > most:
			d.reportAt(v, "%s is %d: write %s", key, n, want)
		default:
			*at(to) = n
		}
	}}
}

// port is a field with a port; 0 is as if it were not there.
func port[T any](at func(*T) *uint16) field[T] {
	row := number("port", 0, math.MaxUint16, func(n *int) *int { return n })
	return field[T]{key: row.key, shape: row.shape, read: func(d *decoder, v value, to *T) {
		n := int(*at(to))
		row.read(d, v, &n)
		*at(to) = uint16(n)
	}}
}

// plain returns the text of a scalar that is not in quotes, and "" for everything else.
func plain(n ast.Node) string {
	if _, ok := n.(ast.ScalarNode); !ok {
		return ""
	}
	switch t := n.GetToken(); t.Type {
	case token.SingleQuoteType, token.DoubleQuoteType:
		return ""
	default:
		return t.Value
	}
}

// boolean is a field with true or false.
func boolean[T any](key string, at func(*T) *bool) field[T] {
	const want = "true or false"
	return field[T]{key: key, shape: booleanShape(), read: func(d *decoder, v value, to *T) {
		if !d.present(v, want) {
			return
		}
		b, ok := v.node.(*ast.BoolNode)
		if !ok {
			d.wrongType(v, want)
			return
		}
		*at(to) = b.Value
	}}
}

var bareNumber = regexp.MustCompile(`^[+-]?[0-9_]*\.?[0-9]+$`)

// duration is a field with a time of at least least.
func duration[T any](key string, least time.Duration, at func(*T) *time.Duration) field[T] {
	const want = "a time with a unit, for example 3s"
	return field[T]{key: key, shape: durationShape(), read: func(d *decoder, v value, to *T) {
		if !d.present(v, want) {
			return
		}
		text := scalarText(v.node)
		t, err := time.ParseDuration(text)
		switch {
		case bareNumber.MatchString(text):
			d.reportAt(v, "%s is a number without a unit: write a unit, for example 3s", key)
		case err != nil:
			d.wrongType(v, want+" (the units are h, m, s, ms, us, ns)")
		case t < 0:
			d.reportAt(v, "%s is negative: write %s", key, want)
		case t < least:
			d.reportAt(v, "%s is too short: write at least %v", key, least)
		default:
			*at(to) = t
		}
	}}
}

// leastDeadPeer is what keepalives, which count in seconds, can keep.
const leastDeadPeer = 5 * time.Second

// deadPeer is a field with the time after which a peer that answers nothing is given up; 0 = never.
func deadPeer[T any](at func(*T) *time.Duration) field[T] {
	f := duration("dead_peer", 0, at)
	read := f.read
	f.read = func(d *decoder, v value, to *T) {
		read(d, v, to)
		if t := *at(to); t != 0 && t < leastDeadPeer {
			d.reportAt(v, "dead_peer is too short: write at least %v, or 0s for none", leastDeadPeer)
		}
	}
	return f
}

// scalarText returns the text of a string or number, and "" for everything else.
func scalarText(n ast.Node) string {
	if s, ok := n.(*ast.StringNode); ok {
		return s.Value
	}
	return plain(n)
}

// word is a field with one of a few words, which set stores.
func word[T, E any](key string, words []string, set func(word string, to *E) error, at func(*T) *E) field[T] {
	return field[T]{key: key, shape: enumShape(words), read: func(d *decoder, v value, to *T) {
		if text, ok := d.oneOf(v, words); ok {
			// It is one of words, so an error here is a word that its own package does not know.
			if err := set(text, at(to)); err != nil {
				d.reportAt(v, "%v", err)
			}
		}
	}}
}

func (d *decoder) oneOf(v value, words []string) (string, bool) {
	want := "one of " + strings.Join(words, ", ")
	if len(words) == 1 {
		want = words[0]
	}
	text, ok := d.string(v, want)
	if ok && !slices.Contains(words, text) {
		hint := ""
		if near := nearest(text, words); near != "" && (len(text) > 2 || strings.EqualFold(near, text)) {
			hint = ": did you mean " + near + "?"
		}
		d.reportAt(v, "%s must be %s, not %s%s", v.name, want, quote(text), hint)
		return "", false
	}
	return text, ok
}

// unmarshal stores a word in a type that knows its own words.
func unmarshal[E any, P interface {
	*E
	encoding.TextUnmarshaler
}](word string, to *E) error {
	return P(to).UnmarshalText([]byte(word))
}

// assign stores a word as it is.
func assign[E ~string](word string, to *E) error {
	*to = E(word)
	return nil
}

const maxName = 64

// checkName refuses names that would be trouble as a metric label or as an argument on a command line.
func checkName(name string) error {
	const allowed = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:"
	switch {
	case name == "":
		return errors.New("name is empty")
	case len(name) > maxName:
		return fmt.Errorf("name has %d characters: use at most %d", len(name), maxName)
	case strings.ContainsFunc(name, func(r rune) bool { return !strings.ContainsRune(allowed, r) }):
		return fmt.Errorf("name %s: use letters, digits and - _ . : only", quote(name))
	}
	return nil
}
