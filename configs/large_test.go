package configs

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// hostile are patterns that, repeated, once took a time with the square of their number, and for the last ones more than
// the stack.
var hostile = []struct{ what, before, repeated string }{
	{"closing brackets", "", "]"},
	{"words in flow", "[", "a,"},
	{"pairs in flow", "{", "a: b,"},
	{"keys in flow without values", "{", "a,"},
	{"keys without values", "", "a:\n"},
	{"keys that are not known", "", "kk: 1\n"},
	{"blocks of text", "", "a: >\n"},
	{"blank lines after text", "a: |\n x\n", "\n"},
	{"angles", "", "<"},
	{"merge keys", "", "<<: *a\n"},
	{"keys in a list without commas", "[", "\"a\": \"1\"\n"},
	{"keys after question marks", "", "? a\n"},
	{"anchored keys", "", "&a a: b\n"},
	{"documents", "", "---\n"},
	{"ends of documents", "", "...\n"},
	{"variables", "a: ", "${A:-b}"},
	{"broken variables", "a: ", "$$${A:-&"},
	{"bad values on one line", "listeners: {l: {pool: p, bind: [", "x,"},
	{"bad bytes on one line", "", "\x01"},
	{"lists in lists", "", "- "},
	{"brackets", "", "["},
	{"aliases of aliases", "x-a: &a [1, 1, 1, 1, 1, 1, 1, 1]\n", "x-a: &a [*a, *a, *a, *a, *a, *a, *a, *a]\n"},
}

// repeatTo returns the pattern repeated up to a size in bytes.
func repeatTo(size int, before, repeated string) []byte {
	return []byte(before + strings.Repeat(repeated, (size-len(before))/len(repeated)))
}

// answered parses within a time that nothing with a square in it keeps to, however slow the machine is.
func answered(t *testing.T, what string, data []byte) (file *File, err error) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		file, err = parse("large.yaml", data, noLookup)
	}()
	select {
	case <-done:
		return file, err
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s: %d bytes are not read after two minutes", what, len(data))
		return nil, nil
	}
}

// TestHostileFiles: four times the file takes about four times the memory, in sum, and an answer that can be read.
func TestHostileFiles(t *testing.T) {
	for _, h := range hostile {
		var took [2]uint64
		for i, size := range []int{12 << 10, 48 << 10} {
			data := repeatTo(size, h.before, h.repeated)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := answered(t, h.what, data)
			runtime.ReadMemStats(&after)
			took[i] = after.TotalAlloc - before.TotalAlloc
			if err == nil {
				t.Errorf("%s: it loads", h.what)
				continue
			}
			checkPositions(t, data, err)
			if n := len(err.(Problems)); n > maxProblems+1 {
				t.Errorf("%s: %d problems", h.what, n)
			}
			if n := len(err.Error()); n > 64<<10 {
				t.Errorf("%s: %d bytes of problems", h.what, n)
			}
		}
		if took[1] > 7*took[0]+1<<20 {
			t.Errorf("%s: %d bytes for four times the file, %d for the file", h.what, took[1], took[0])
		}
	}
}

// manyPools returns a configuration with so many pools, and a listener for every fourth of them.
func manyPools(count int, pool string) []byte {
	var b strings.Builder
	b.WriteString("listeners:\n")
	for i := range count / 4 {
		fmt.Fprintf(&b, "  l%d: {bind: \":%d\", pool: %s%d}\n", i, 10_000+i, pool, i)
	}
	b.WriteString("pools:\n")
	for i := range count {
		fmt.Fprintf(&b, "  p%d:\n    backends: [10.0.0.1:80, 10.0.0.2:80]\n", i)
	}
	return []byte(b.String())
}

func TestTenThousandPools(t *testing.T) {
	file, err := answered(t, "pools", manyPools(10_000, "p"))
	if err != nil || len(file.Pools) != 10_000 || len(file.Listeners) != 2_500 {
		t.Fatal(err)
	}
	_, err = answered(t, "pool names", manyPools(2_000, "q")) // every name is wrong where it is used
	var problems Problems
	if !errors.As(err, &problems) || len(problems) != maxProblems+1 {
		t.Fatal(err)
	}
	const want = "large.yaml: 400 more problems are not shown: correct these first"
	if got := problems[maxProblems].String(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if got := problems[0].Message; !strings.HasPrefix(got, `pool "q0" does not exist: did you mean p0?`) {
		t.Error(got)
	}
}

// TestProblemsOfAliases: what an alias stands for is said once, and what all of them come to is bounded.
func TestProblemsOfAliases(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if _, err := parse("a.yaml", []byte(text), noLookup); err == nil || err.Error() != want {
			t.Errorf("got\n%v\nwant\n%s", err, want)
		}
	}
	f("x-c: &c {type: tcp, rise: 0}\nlisteners: {l: {bind: \":1\", pool: a}}\n"+
		"pools: {a: {check: *c, backends: \"10.0.0.1:1\"}, b: {check: *c, backends: \"10.0.0.1:1\"}}",
		"a.yaml:1:27: rise is 0: write a whole number, 1 or more\n"+
			"  x-c: &c {type: tcp, rise: 0}\n                            ^")
	var b strings.Builder
	b.WriteString("x-0: &a0 [a, a]\n")
	for i := range 40 {
		fmt.Fprintf(&b, "x-%d: &a%d [*a%d, *a%d]\n", i+1, i+1, i, i)
	}
	f(b.String()+minimalText, "a.yaml:17:19: the aliases so far stand for more than 16 MiB: this is not a configuration of sluice\n"+
		"  x-16: &a16 [*a15, *a15]\n                    ^")
}

// TestDefaultsAreMergedOnce: what aliases make of defaults is put together once, not for every pool.
func TestDefaultsAreMergedOnce(t *testing.T) {
	many := func(alias string, count int) string { return strings.Repeat(alias+", ", count) }
	took := func(pools int) uint64 {
		var b strings.Builder
		fmt.Fprintf(&b, "x-a: &a {retries: 7}\nx-b: &b {<<: [%s]}\ndefaults: {pools: {<<: [%s]}}\n", many("*a", 500), many("*b", 40))
		b.WriteString("listeners: {w: {bind: \":80\", pool: p0}}\npools:\n")
		for i := range pools {
			fmt.Fprintf(&b, "  p%d: {backends: 10.0.0.1:80}\n", i)
		}
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		file, err := answered(t, "defaults", []byte(b.String()))
		runtime.ReadMemStats(&after)
		if err != nil || file.Pools[pools-1].Retries != 7 {
			t.Fatal(err)
		}
		return after.TotalAlloc - before.TotalAlloc
	}
	if few, more := took(2), took(52); more > 3*few {
		t.Errorf("%d bytes for 52 pools, %d for two", more, few)
	}
}
