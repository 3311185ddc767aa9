package configs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/l4/route"
)

// withRoutes is a listener with one route a line, from the fourth line on.
func withRoutes(protocol string, routes []string) []byte {
	const text = "pools: {web: {backends: 10.0.0.1:80}}\nlisteners: {l: {bind: :443, protocol: %s, routes: [\n\n%s\n]}}\n"
	return fmt.Appendf(nil, text, protocol, strings.Join(routes, ",\n"))
}

// Routes that look as if an earlier one took everything, but something is left for each.
func TestRoutesReached(t *testing.T) {
	f := func(protocol string, routes ...string) {
		t.Helper()
		if _, err := parse("good.yaml", withRoutes(protocol, routes), noLookup); err != nil {
			t.Errorf("%v:\n%v", routes, err)
		}
	}
	f("tls", `{sni: a.example.com, alpn: h2, pool: web}`, `{sni: a.example.com, alpn: [h2, http/1.1], pool: web}`,
		`{sni: a.example.com, pool: web}`, `{alpn: h2, pool: web}`, `{pool: web}`)
	f("tls", `{sni: ["*.example.com", a.b.example.com], pool: web}`, `{sni: example.com, pool: web}`,
		`{sni: "*.b.example.com", pool: web}`, `{sni: "*", pool: web}`, `{pool: web}`)
	f("tls", `{sni: ["*", a.example.com], pool: web}`, `{alpn: h2, pool: web}`)
	f("tls", `{alpn: h2, pool: web}`, `{sni: a.example.com, pool: web}`,
		`{sni: "*.example.com", alpn: [h2, h3], pool: web}`)
	f("postgres", `{database: [a, b], user: u, pool: web}`, `{database: a, pool: web}`, `{user: u, pool: web}`,
		`{database: c, user: [u, v], pool: web}`, `{sni: "*", pool: web}`, `{alpn: postgresql, pool: web}`, `{pool: web}`)
}

// TestRoutesNotReached makes routes at random and tries every session there can be: none gets to what is reported.
func TestRoutesNotReached(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from ...string) (values []string) {
		for _, value := range from {
			if random.IntN(len(from)+1) == 0 {
				values = append(values, value)
			}
		}
		return values
	}
	reported := 0
	for range 3000 {
		routes := make([]route.Rule, 2+random.IntN(4))
		lines := make([]string, len(routes))
		for i := range routes {
			if r := &routes[i]; random.IntN(2) == 0 {
				r.SNI, r.ALPN = pick("a.x", "A.x.", "b.x", "a.y", "*.x", "*"), pick("h2", "h3")
			} else {
				r.Database, r.User = pick("d", "e"), pick("u", "v")
			}
			lines[i] = fmt.Sprintf("{sni: %q, alpn: %q, database: %q, user: %q, pool: web}",
				routes[i].SNI, routes[i].ALPN, routes[i].Database, routes[i].User)
			lines[i] = regexp.MustCompile(`\w+: \[\], `).ReplaceAllString(strings.ReplaceAll(lines[i], `" "`, `", "`), "")
		}
		_, err := parse("bad.yaml", withRoutes("postgres", lines), noLookup)
		var problems Problems
		errors.As(err, &problems)
		for _, p := range problems {
			checkNotReached(t, routes, p)
			reported++
		}
	}
	if reported < 1000 {
		t.Errorf("only %d problems", reported)
	}
}

var (
	takenForm = regexp.MustCompile(`^no session (?:gets to this route|with (sni|database) "(.*)" gets here): ` +
		`(route .* on line \d) takes? them all`)
	takerForm = regexp.MustCompile(`route (\d) on line (\d)`)
)

func checkNotReached(t *testing.T, routes []route.Rule, p Problem) {
	t.Helper()
	m := takenForm.FindStringSubmatch(p.Message)
	if m == nil {
		t.Fatalf("%+v: %v", routes, p)
	}
	last := p.Line - 4
	for _, by := range takerForm.FindAllStringSubmatch(m[3], -1) {
		if taker := int(by[1][0] - '1'); taker >= last || by[2][0] != byte('4'+taker) {
			t.Errorf("%+v: %v", routes, p)
		}
	}
	tried := slices.Clone(routes[:last+1])
	switch m[1] {
	case "sni":
		tried[last].SNI = []string{m[2]}
	case "database":
		tried[last].Database = []string{m[2]}
	}
	for _, s := range everySession() {
		if slices.IndexFunc(tried, s.meets) == last {
			t.Fatalf("%+v: %v, but %+v does", routes, p, s)
		}
	}
}

// A session is what routes see of one.
type session struct {
	name, database, user string
	offers               []string
}

func everySession() (all []session) {
	for _, name := range []string{"", "a.x", "b.x", "c.x", "a.y", "z"} {
		for _, offers := range [][]string{nil, {"h2"}, {"h3"}, {"h2", "h3"}, {"h1"}} {
			all = append(all, session{name: name, offers: offers})
		}
	}
	for _, database := range []string{"d", "e", "f"} {
		for _, user := range []string{"u", "v", "w"} {
			all = append(all, session{database: database, user: user})
		}
	}
	return all
}

// meets is package l4's look-up, said as simply as can be.
func (s session) meets(r route.Rule) bool {
	named := func(pattern string) bool {
		_, parent, _ := strings.Cut(s.name, ".")
		pattern = strings.ToLower(strings.TrimSuffix(pattern, "."))
		return s.name != "" && (pattern == "*" || pattern == s.name || pattern == "*."+parent)
	}
	offered := func(protocol string) bool { return slices.Contains(s.offers, protocol) }
	return (r.SNI == nil || slices.ContainsFunc(r.SNI, named)) &&
		(r.ALPN == nil || slices.ContainsFunc(r.ALPN, offered)) &&
		(r.Database == nil || slices.Contains(r.Database, s.database)) &&
		(r.User == nil || slices.Contains(r.User, s.user))
}
