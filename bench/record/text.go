package record

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Line writes a line of a Markdown table.
func Line(w io.Writer, cells ...string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// Head writes the first two lines of a Markdown table, of which so many columns are text; the others are figures.
func Head(w io.Writer, text int, heads ...string) {
	Line(w, heads...)
	rule := make([]string, len(heads))
	for i := range rule {
		rule[i] = "---:"
		if i < text {
			rule[i] = "---"
		}
	}
	Line(w, rule...)
}

// OneLine is the text of an error that may be several joined.
func OneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// Thousands writes a number with commas.
func Thousands(n int64) string {
	text := strconv.FormatInt(n, 10)
	first := 0
	if n < 0 {
		first = 1
	}
	for i := len(text) - 3; i > first; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// Median is the middle value, or the mean of the two in the middle. There must be one.
func Median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
