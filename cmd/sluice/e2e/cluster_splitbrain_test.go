package e2e

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Servers that claim to be the primary at the same time: the one on the highest timeline is, and if there are more of
// them, none is. sluice says so.
func TestClusterSplitBrain(t *testing.T) {
	t.Parallel()
	c := startCluster(t)
	r := c.startSluice()
	r.mayLog = "split brain"
	first, second, third := c.members[0], c.members[1], c.members[2]
	r.untilSplitBrain(false)
	idlers := openIdlers(t, r.address("rw"), 4)
	second.promote()
	r.untilMembers("primary", second.name)
	untilEnded(t, idlers)
	r.untilSplitBrain(true)
	r.expectPort("rw", second)
	r.expectSaid("split brain")

	third.promote() // to the same timeline as the second
	r.untilMembers("primary")
	waiting := start(t, "psql", tempDir(t), pgCommand(t, r.address("rw"), "psql", "-X", "-A", "-t", "-c",
		"select inet_server_port()"))
	until(t, "the new session waits", func() error {
		if n := r.metrics()[`sluice_pool_queue{pool="primary"}`]; n != 1 {
			return fmt.Errorf("%v do", n)
		}
		return nil
	})
	third.shutDown()
	if err := waiting.wait(); err != nil {
		t.Errorf("the session that waited: %v", err)
	}
	if got := readLines(t, waiting.log); !slices.Contains(got, strconv.Itoa(second.port)) {
		t.Errorf("the session that waited says %q, want %s at %d", got, second.name, second.port)
	}
	first.shutDown()
	r.untilSplitBrain(false)
	r.expectPort("rw", second)
}

// expectPort checks that a new session leads to a server.
func (r *rig) expectPort(listener string, want *member) {
	r.t.Helper()
	if got := psql(r.t, r.address(listener), "prefer", "select inet_server_port()"); got != strconv.Itoa(want.port) {
		r.t.Errorf("a new session at %s leads to the server at %s, want %s at %d", listener, got, want.name, want.port)
	}
}

// expectSaid checks that a line of the log is about something.
func (r *rig) expectSaid(what string) {
	r.t.Helper()
	for _, l := range r.logLines() {
		if strings.Contains(l.Msg, what) {
			return
		}
	}
	r.t.Errorf("the log says nothing of %q", what)
}
