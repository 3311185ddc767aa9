package l4

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The table of states in doc.go and in ARCHITECTURE.md says which state may follow which, as
// the code has it: for every state, what its handler, its timer and the fall of its backend
// may return, by themselves and through what they call.
func TestStatesAreAsDocumented(t *testing.T) {
	code := parseStates(t)
	want := make(map[string][]string)
	for s := range numStates {
		var next []string
		for _, f := range []string{"act", "overdue", "forsaken"} {
			next = append(next, code.inCase(f, s)...)
		}
		switch s {
		case stateClosed:
			next = append(code.next("firstState"), stateArriving.String()) // see seat
		case stateArriving:
			for _, s := range travelling {
				next = append(next, s.String())
			}
		case stateWaiting:
			next = append(next, code.next("connectGranted")...)
		}
		want[s.String()] = others(s, next)
	}
	code.expectCallers("advance", "begin", "cutOff", "expire", "leaveQueue", "moveOn", "resume", "slotGranted", "step")
	for _, file := range []string{"doc.go", "../ARCHITECTURE.md"} {
		got := documentedStates(t, file)
		for s := range numStates {
			if name := s.String(); !slices.Equal(got[name], want[name]) {
				t.Errorf("%s: %s goes on to %v, in the code to %v", file, name, got[name], want[name])
			}
		}
		if len(got) != int(numStates) {
			t.Errorf("%s: %d states, in the code there are %d", file, len(got), numStates)
		}
	}
}

// others returns the names of the states in a list but for s itself, in the order of the
// states. Every state may end, which is not said of each.
func others(s state, list []string) (names []string) {
	for other := range numStates {
		if other != s && other != stateClosed && slices.Contains(list, other.String()) {
			names = append(names, other.String())
		}
	}
	return names
}

// documentedStates reads the table of states of a file: lines of a name, an arrow and the
// names that follow, the last of which may be followed by a remark in parentheses.
func documentedStates(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	table := make(map[string][]string)
	for line := range strings.Lines(string(data)) {
		from, to, ok := strings.Cut(line, "──►")
		name := strings.Trim(from, "/ \t")
		if !ok || !slices.Contains(stateNames[:], name) {
			continue
		}
		to, _, _ = strings.Cut(to, "(")
		table[name] = nil
		for next := range strings.SplitSeq(to, ",") {
			if next = strings.TrimSpace(next); next != "" {
				table[name] = append(table[name], next)
			}
		}
	}
	return table
}

// stateCode is the package's own code, as far as it says which state is next.
type stateCode struct {
	t         *testing.T
	functions []*ast.FuncDecl
	handlers  map[string]*ast.FuncDecl // functions that return a state, by their names
	names     map[string]string        // of states, by their constants
}

func parseStates(t *testing.T) *stateCode {
	t.Helper()
	code := &stateCode{t: t, handlers: make(map[string]*ast.FuncDecl), names: make(map[string]string)}
	files, _ := filepath.Glob("*.go")
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			code.functions = append(code.functions, f)
			if returnsState(f) {
				code.handlers[f.Name.Name] = f
			}
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if kv, ok := n.(*ast.KeyValueExpr); ok {
				if key, ok := kv.Key.(*ast.Ident); ok && strings.HasPrefix(key.Name, "state") {
					if value, ok := kv.Value.(*ast.BasicLit); ok {
						code.names[key.Name] = strings.Trim(value.Value, `"`)
					}
				}
			}
			return true
		})
	}
	if len(code.names) != int(numStates) {
		t.Fatalf("%d names of states were found, want %d", len(code.names), numStates)
	}
	return code
}

// inCase returns the states that a case of a function's switch over the states may return, and
// what comes after the switch.
func (c *stateCode) inCase(function string, s state) (states []string) {
	c.t.Helper()
	seen := make(map[string]bool)
	for _, stmt := range c.handlers[function].Body.List {
		over, ok := stmt.(*ast.SwitchStmt)
		if !ok {
			states = append(states, c.in(stmt, seen)...)
			continue
		}
		for _, clause := range over.Body.List {
			for _, label := range clause.(*ast.CaseClause).List {
				if c.names[label.(*ast.Ident).Name] == s.String() {
					for _, stmt := range clause.(*ast.CaseClause).Body {
						states = append(states, c.in(stmt, seen)...)
					}
				}
			}
		}
	}
	return states
}

// next returns the states that a function may return.
func (c *stateCode) next(function string) []string {
	return c.in(c.handlers[function].Body, make(map[string]bool))
}

// in returns the states that are returned in a piece of code, by itself or by what it calls.
func (c *stateCode) in(node ast.Node, seen map[string]bool) (states []string) {
	ast.Inspect(node, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.ReturnStmt:
			for _, result := range n.Results {
				if name, ok := result.(*ast.Ident); ok && c.names[name.Name] != "" {
					states = append(states, c.names[name.Name])
				}
			}
		case *ast.SelectorExpr: // of a call, or of a method that is called later
			if f := c.handlers[n.Sel.Name]; f != nil && !seen[n.Sel.Name] {
				seen[n.Sel.Name] = true
				states = append(states, c.in(f.Body, seen)...)
			}
		}
		return true
	})
	return states
}

func returnsState(f *ast.FuncDecl) bool {
	if f.Type.Results == nil {
		return false
	}
	return slices.ContainsFunc(f.Type.Results.List, func(r *ast.Field) bool {
		name, ok := r.Type.(*ast.Ident)
		return ok && name.Name == "state"
	})
}

// expectCallers checks by which functions a method is called.
func (c *stateCode) expectCallers(method string, want ...string) {
	c.t.Helper()
	var got []string
	for _, f := range c.functions {
		ast.Inspect(f, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok && calleeOf(call) == "l."+method && !slices.Contains(got, f.Name.Name) {
				got = append(got, f.Name.Name)
			}
			return true
		})
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		c.t.Errorf("%s is called by %v, want %v", method, got, want)
	}
}

func calleeOf(call *ast.CallExpr) string {
	if s, ok := call.Fun.(*ast.SelectorExpr); ok {
		if on, ok := s.X.(*ast.Ident); ok {
			return on.Name + "." + s.Sel.Name
		}
	}
	return ""
}
