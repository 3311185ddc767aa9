package e2e

import (
	"fmt"
	"os"
	"testing"
)

// showTable shows a result that is worth reading when all is well, which go test keeps to itself without -v: it is added to
// the file that SLUICE_TEST_TABLES names, if there is one.
func showTable(t *testing.T, title, text string) {
	t.Helper()
	t.Logf("%s:\n%s", title, text)
	path := os.Getenv("SLUICE_TEST_TABLES")
	if path == "" {
		return
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s:\n%s\n", title, text); err != nil {
		t.Fatal(err)
	}
}
