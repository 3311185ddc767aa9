package configs

import (
	"strings"
	"testing"
)

func TestExcerpt(t *testing.T) {
	f := func(source string, column int, wantLine, wantCaret string) {
		t.Helper()
		if line, caret := excerpt(source, column); line != wantLine || caret != wantCaret {
			t.Errorf("excerpt(%q, %d) =\n%q\n%q, want\n%q\n%q", source, column, line, caret, wantLine, wantCaret)
		}
	}
	f("abc", 1, "abc", "^")
	f("abc", 4, "abc", "   ^")
	f("\tabc", 3, "\tabc", "\t ^")
	f("é→x", 3, "é→x", "  ^")
	f("a\x1b[1mb", 6, "a\ufffd[1mb", "     ^")
	f("", 1, "", "^")
	long := strings.Repeat("0123456789", 100)
	f(long, 500, "..."+long[419:579]+"...", strings.Repeat(" ", 3+80)+"^")
	f(long, 1, long[:160]+"...", "^")
	f(long, 1001, "..."+long[920:], strings.Repeat(" ", 3+80)+"^")
}
