package record

import (
	"strings"
	"testing"
)

func TestMedian(t *testing.T) {
	f := func(want float64, values ...float64) {
		t.Helper()
		if got := Median(values); got != want {
			t.Errorf("median of %v is %v, want %v", values, got, want)
		}
	}
	f(5, 5)
	f(2, 3, 1, 2)
	f(2.5, 4, 1, 3, 2)
}

func TestModelName(t *testing.T) {
	f := func(text, want string) {
		t.Helper()
		if got := modelName(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	f("processor\t: 0\nmodel name\t: Xeon: the best\nmodel name\t: other\n", "Xeon: the best")
	f("processor\t: 0\n", "unknown")
}

func TestTailKeepsTheEnd(t *testing.T) {
	var end Tail
	for range 200 {
		end.Write([]byte("line one\n"))
	}
	end.Write([]byte("the last\nword"))
	if got := end.String(); len(got) > tailSize || !strings.HasSuffix(got, "line one the last word") {
		t.Errorf("kept %q", got)
	}
}
