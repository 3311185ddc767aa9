package e2e

import (
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// isOld reports whether a connection was let in by the old primary: before a replica is promoted, nobody else could.
// Only such a connection may be lost. A client may be told so before it has read that it is let in.
func (f *failover) isOld(e *entry) bool {
	if e.connected.IsZero() {
		return e.opened.Before(f.struck) && sqlState(e.err) == adminShutdown
	}
	return e.connected.Before(f.promoting)
}

// checkEntries checks that no client failed but old ones. Nor had one to try twice: except with TLS and before sluice
// knew of the fault, when nobody but the client could read that the server turned it away.
func (f *failover) checkEntries() {
	f.t.Helper()
	for id, e := range f.entries {
		if f.isOld(e) || e.err == nil && (e.dials == 1 || e.opened.Before(f.found)) {
			continue
		}
		f.t.Errorf("entry %d (sslmode %s), opened %v after the fault, has failed after %v at its connection %d: %v", id,
			e.sslmode, e.opened.Sub(f.struck).Round(time.Millisecond), e.ended.Sub(e.opened).Round(time.Millisecond),
			e.dials, e.err)
	}
}

// checkRows checks what the new primary has in its journal: every row that it has acknowledged, and no row of another
// server from after the fault. The old primary has none from after the fault.
func (f *failover) checkRows(rows journalRows) {
	f.t.Helper()
	var strange, missing, stale []int // entries
	for id, ports := range rows {
		if e := f.entries[id]; len(ports) != 1 || ports[0] != f.acceptedBy(e).port {
			strange = append(strange, id)
		}
	}
	for id, e := range f.entries {
		if !f.isOld(e) && e.err == nil && rows[id] == nil {
			missing = append(missing, id)
		}
	}
	for id := range f.stale {
		if !f.isOld(f.entries[id]) {
			stale = append(stale, id)
		}
	}
	if len(strange)+len(missing)+len(stale) > 0 {
		f.t.Errorf("rows at %s, the new primary, that were accepted more than once or by another server: %v;"+
			" rows that were acknowledged and that it does not have: %v;"+
			" rows that %s has accepted when it was not the primary any more: %v",
			f.next.name, strange, missing, f.old.name, stale)
	}
}

// acceptedBy is the only server that may have accepted an entry.
func (f *failover) acceptedBy(e *entry) *member {
	if f.isOld(e) {
		return f.old
	}
	return f.next
}

// gap returns the connections that were opened between the fault and the first write after it, and when that was.
func (f *failover) gap() (entries []*entry, end time.Time) {
	for _, e := range f.entries {
		if !e.opened.Before(f.struck) && e.err == nil && (end.IsZero() || e.written.Before(end)) {
			end = e.written
		}
	}
	for _, e := range f.entries {
		if !e.opened.Before(f.struck) && e.opened.Before(end) {
			entries = append(entries, e)
		}
	}
	return entries, end
}

// countLost counts what the fault has cost. Replication is asynchronous: a row that was acknowledged by the old primary
// and that no replica has got is gone.
func (f *failover) countLost(rows journalRows) {
	for id, e := range f.entries {
		switch {
		case !f.isOld(e) && e.dials > 1:
			f.twice++
		case f.isOld(e) && e.err != nil:
			f.cut++
		case f.isOld(e) && rows[id] == nil:
			f.lost++
		}
	}
}

// logTimes prints what came of each fault that is over. Times are from the fault on.
func logTimes(t *testing.T, failovers []*failover) {
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "fault\tfound down\tpromoted\tfirst write\told sessions gone\tnew connections meanwhile\t"+
		"longest wait\ttried twice\tinserts cut\tcommits lost")
	for _, f := range failovers {
		if f.entries == nil {
			continue
		}
		meanwhile, first := f.gap()
		longest := time.Duration(0)
		for _, e := range meanwhile {
			longest = max(longest, e.connected.Sub(e.opened))
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d\t%.2f s\t%d\t%d\t%d\n", f.name, f.after(f.found), f.after(f.promoted),
			f.after(first), f.after(f.closed), len(meanwhile), longest.Seconds(), f.twice, f.cut,
			f.lost)
	}
	table.Flush() // to memory
	showTable(t, "Times after the fault, sluice in front of a Postgres primary with two replicas", text.String())
}

// after is how long after the fault something was.
func (f *failover) after(when time.Time) string {
	return fmt.Sprintf("%.2f s", when.Sub(f.began).Seconds())
}
