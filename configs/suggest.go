package configs

import (
	"fmt"
	"strings"
)

// maxListed is how many words are listed as a whole: nobody reads a list of ten thousand pools.
const maxListed = 64

// advise says what could have been written instead of word: the nearest of the words when one is near, otherwise all of
// them. what is what they are, in the plural.
func advise(word string, words []string, what string) string {
	if near := nearest(word, words); near != "" {
		return "did you mean " + near + "?"
	}
	if len(words) > maxListed {
		return fmt.Sprintf("there are %d %s, such as %s", len(words), what, strings.Join(words[:5], ", "))
	}
	return "the " + what + " are " + strings.Join(words, ", ")
}

// nearest returns the word that a slip of the finger would turn into the given one, or "".
func nearest(word string, words []string) string {
	if len(word) > maxName {
		return ""
	}
	best, bestDistance := "", 1+max(1, len(word)/3)
	for _, w := range words {
		if d := distance(strings.ToLower(word), w); d < bestDistance {
			best, bestDistance = w, d
		}
	}
	return best
}

// distance returns how many letters must be inserted, removed, replaced or swapped with their neighbour to turn a into b
// (optimal string alignment).
func distance(a, b string) int {
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(row[j]+1, last[j+1]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
