package configs

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"sluice/l4"
	"sluice/l4/route"
)

// A routeDraft is a route with the places of what it says.
type routeDraft struct {
	Route
	keyNotes
	at     place
	values map[string][]value // of each condition, in order
	ok     bool               // nothing is wrong with it by itself
}

func readRoutes(d *decoder, v value, to *listenerDraft) {
	for _, item := range d.items(v, "a list of routes, for example [{sni: shop.example.com, pool: web}]") {
		item.name = "route"
		r := &routeDraft{at: item.at, values: make(map[string][]value)}
		before := len(d.problems)
		routeFields.decode(d, item, r)
		r.ok = len(d.problems) == before
		to.routes = append(to.routes, r)
		to.Routes = append(to.Routes, r.Route)
	}
}

func readRoutePool(d *decoder, v value, to *routeDraft) { readPoolRef(d, v, &to.Pool) }

// condition is a field with the values of which a session must show one: a word or a list of them. check says what is
// wrong with a value beyond what package l4 says; nil = nothing.
func condition(key, want string, check func(string) error, at func(*route.Rule) *[]string) field[routeDraft] {
	return field[routeDraft]{key: key, read: func(d *decoder, v value, to *routeDraft) {
		first := make(map[string]bool)
		for _, item := range d.items(v, want) {
			text, ok := d.quotable(item, want)
			if !ok {
				continue
			}
			if err := checkCondition(text, check, at); err != nil {
				d.reportAt(item, "%s %v", key, err)
				continue
			}
			if first[text] {
				d.reportAt(item, "%s has %s twice: remove one of them", key, quote(text))
			}
			first[text] = true
			values := at(&to.Route.Rule)
			*values = append(*values, text)
			to.values[key] = append(to.values[key], item)
		}
	}}
}

// quotable returns text, and says what to do with a name that YAML takes for a number.
func (d *decoder) quotable(v value, want string) (string, bool) {
	switch v.node.(type) {
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.reportAt(v, "%s %s is not text: put it in quotes", v.name, v.node.GetToken().Value)
		return "", false
	}
	return d.string(v, want)
}

// checkCondition returns what is wrong with a value of a condition.
func checkCondition(text string, check func(string) error, at func(*route.Rule) *[]string) error {
	if text == "" {
		return errors.New("is empty: write a name, or remove it")
	}
	if check != nil {
		if err := check(text); err != nil {
			return err
		}
	}
	var alone route.Rule
	*at(&alone) = []string{text}
	if err := alone.Check(); err != nil {
		return fmt.Errorf("%s: %w", quote(text), cause(err))
	}
	return nil
}

// cause returns the error at the bottom of err, which has no names and numbers of what it is about.
func cause(err error) error {
	for {
		var inner error
		switch e := err.(type) {
		case interface{ Unwrap() []error }:
			inner = e.Unwrap()[0]
		case interface{ Unwrap() error }:
			inner = e.Unwrap()
		}
		if inner == nil {
			return err
		}
		err = inner
	}
}

// strangeName matches what is in no server name, though it is printable ASCII.
var strangeName = regexp.MustCompile(`[^-A-Za-z0-9_.*\x80-\x{10ffff}]|\.\.`)

// checkSNI refuses what cannot be a name that clients ask for, and says what was probably meant.
func checkSNI(text string) error {
	if _, err := netip.ParseAddr(strings.Trim(text, "[]")); err == nil {
		return fmt.Errorf("%s is an IP address: clients send names only, so remove it; "+
			"the listener's own pool is for those without a name", quote(text))
	}
	switch {
	case strings.ContainsAny(text, ":/"):
		return fmt.Errorf("%s is not a server name: write the name alone, without scheme, port and path", quote(text))
	case strings.HasPrefix(text, ".") && len(text) > 1:
		return fmt.Errorf(`%s is not a server name: write "*%s" for the names with one label more`, quote(text), unquoted(text))
	case strangeName.MatchString(text):
		return fmt.Errorf("%s is not a server name: write it as in shop.example.com", quote(text))
	}
	return nil
}

// alpnSlips are names of protocols that are not those of ALPN, in lower case.
var alpnSlips = map[string]string{
	"http/2": "h2", "http/2.0": "h2", "http2": "h2", "h2": "h2", "http1.1": "http/1.1", "http/1.1": "http/1.1",
}

// checkALPN refuses what no client offers, though another spelling of it is offered by all.
func checkALPN(text string) error {
	if right := alpnSlips[strings.ToLower(text)]; right != "" && right != text {
		return fmt.Errorf("%s is not what clients offer: write %s", quote(text), right)
	}
	return nil
}

// finishRoutes holds the routes against the protocol and against each other.
func (l *listenerDraft) finishRoutes(d *decoder) {
	before := len(d.problems)
	v, given := l.given["routes"]
	if given && !l.Protocol.Peeks() && !l.bad["protocol"] {
		d.report(v.at, "routes need a protocol whose first bytes are read: write protocol: tls, or protocol: postgres")
	}
	for _, r := range l.routes {
		r.checkSides(d, l.Protocol)
	}
	checkReach(d, l.routes)
	if !given || l.bad["routes"] || l.bad["protocol"] || len(d.problems) > before {
		return
	}
	list := make([]route.Rule, len(l.Routes))
	for i, r := range l.Routes {
		list[i] = r.Rule
	}
	if err := l4.CheckRoutes(l.Protocol, list); err != nil {
		first, _, _ := strings.Cut(err.Error(), "\n")
		d.report(v.at, "routes: %s", first)
	}
}

// checkSides reports conditions that no session can meet: what is known of TLS beside what is known of a start-up in
// clear.
func (r *routeDraft) checkSides(d *decoder, protocol l4.Protocol) {
	sealed, isSealed := r.either("sni", "alpn")
	open, isOpen := r.either("database", "user")
	switch {
	case isOpen && protocol.Peeks() && !protocol.HasStartup():
		d.report(open.at, "%s is not known of TLS: remove it, or write protocol: postgres", open.name)
	case isOpen && isSealed:
		d.report(open.at, "no session has both %s and %s: the one is known of TLS, the other of a start-up in clear: "+
			"write a route for each", sealed.name, open.name)
	default:
		return
	}
	r.ok = false
}

// either returns the first of two keys that is there.
func (r *routeDraft) either(first, second string) (value, bool) {
	if v, ok := r.given[first]; ok {
		return v, true
	}
	v, ok := r.given[second]
	return v, ok
}
