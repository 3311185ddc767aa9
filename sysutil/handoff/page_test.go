package handoff

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"

	"sluice/sysutil"
)

// TestPage holds HANDOVER.md to what the code says of messages and bounds.
func TestPage(t *testing.T) {
	text, err := os.ReadFile("../../HANDOVER.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	rows := regexp.MustCompile("(?m)^\\| (\\d+) \\| `([a-z]+)` \\|").FindAllStringSubmatch(page, -1)
	for i, row := range rows {
		if want := Kind(i + 1); row[1] != fmt.Sprint(i+1) || row[2] != want.String() {
			t.Errorf("row %d of the messages is %s %s; want %d %v", i+1, row[1], row[2], want, want)
		}
	}
	if len(rows) != int(kinds)-1 {
		t.Errorf("%d messages; want %d", len(rows), kinds-1)
	}
	for _, phrase := range []string{
		fmt.Sprintf("| 0 | 4 | `%s` |", magic),
		fmt.Sprintf("a header of %d bytes", headerSize),
		fmt.Sprintf("at most %d |", sysutil.MaxPassed),
		fmt.Sprintf("at most %d;", maxFrames-1),
		fmt.Sprintf("at most %d MiB", MaxBody>>20),
		"A message has at most 65,536.",
	} {
		if !strings.Contains(page, phrase) {
			t.Errorf("the page does not say %q", phrase)
		}
	}
	if MaxFiles != 65_536 {
		t.Error("the page has another bound of descriptors")
	}
}
