package e2e

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// measure fills in what came of the fault.
func (o *patroniOutcome) measure(f *patroniFault) {
	o.first = firstWrite(o.writes, f.old.host)
	if o.rig != nil {
		o.found = o.rig.lostLeader(f.at, f.old)
	}
	for _, one := range o.writes {
		switch {
		case one.err == nil && one.opened.After(f.at):
			o.served++
			o.longest = max(o.longest, one.written.Sub(one.opened))
		case one.err == nil:
		case f.isCut(o, one):
			o.cut++
		default:
			o.refused++
		}
	}
}

// isCut reports whether a connection failed as it must: the old leader had let it in and ended before it had its row.
// Until there is a new leader, nobody else could let it in. A leader that shuts down tells its sessions, unless sluice
// has closed them before.
func (f *patroniFault) isCut(o *patroniOutcome, one *patroniWrite) bool {
	atOld, state := one.host == "" || one.host == f.old.host, sqlState(one.err)
	switch {
	case one.connected.IsZero():
		return f.isCutUnderTLS(o, one)
	case f.crash:
		return atOld && one.connected.Before(f.promoted)
	default:
		return atOld && (state == adminShutdown || state == "" && one.connected.Before(o.found))
	}
}

// isCutUnderTLS reports whether a connection failed at the old leader after that had agreed to speak TLS. What comes
// then sluice can neither read nor send to another server.
func (f *patroniFault) isCutUnderTLS(o *patroniOutcome, one *patroniWrite) bool {
	gone := o.found
	if f.crash {
		gone = f.struck
	}
	agreed := !strings.Contains(one.err.Error(), "server refused TLS connection") // pgx has no other word for it
	state := sqlState(one.err)
	return one.sslmode == "require" && one.opened.Before(gone) && (state == cannotConnectNow || state == "" && agreed)
}

// lostLeader is when sluice first said, after a time, that a node is not the leader any more.
func (r *rig) lostLeader(after time.Time, n *patroniNode) (found time.Time) {
	r.t.Helper()
	until(r.t, "sluice says that "+n.name+" is down", func() error {
		for _, l := range r.logLines() {
			if l.Msg == "backend down" && l.Pool == "primary" && l.Backend == n.name && !l.Time.Before(after) {
				found = l.Time
				return nil
			}
		}
		return errors.New("its log does not say so")
	})
	return found
}

// check checks what sluice promises: every connection that is opened while there is no leader waits until there is one.
func (f *patroniFault) check(t *testing.T) {
	t.Helper()
	for _, o := range f.fronts {
		if o.first.IsZero() {
			t.Errorf("%s: no row was written at %s", o.name, f.new.name)
		}
		if o.rig == nil {
			continue
		}
		for _, one := range o.writes {
			if one.err != nil && !f.isCut(o, one) {
				t.Errorf("%s, %s: a connection (sslmode %s) was opened %s, was let in %s by %q, and failed: %v", f.name,
					o.name, one.sslmode, f.since(one.opened), f.since(one.connected), one.host, one.err)
			}
		}
		o.checkReasons(t, f)
	}
	f.checkRows(t)
}

// checkReasons checks how sluice's sessions ended that were at the old leader and waited for it: when it crashed, it
// did, or sluice did. One that shuts down says so first, and then clients may be the first to close.
func (o *patroniOutcome) checkReasons(t *testing.T, f *patroniFault) {
	t.Helper()
	reasons := make(map[string]int)
	until(t, "sluice logs the end of the sessions", func() error {
		clear(reasons)
		for _, s := range o.rig.sessions() {
			if s.Backend == f.old.name && !s.Time.Before(f.at) && s.Received > 0 {
				reasons[s.Reason]++
			}
		}
		n := reasons["backend_down"] + reasons["server_closed"] + reasons["server_reset"]
		if !f.crash {
			n += reasons["client_closed"] + reasons["client_reset"]
		}
		if n < len(o.idlers) {
			return fmt.Errorf("%v", reasons)
		}
		return nil
	})
	t.Logf("%s, %s: sessions at %s ended with %v", f.name, o.name, f.old.name, reasons)
}

// checkRows checks that nothing was written at the old leader after something was written at the new one, and that the
// new one has all rows, but for those of the last moment before a crash, which may not have been sent to it.
func (f *patroniFault) checkRows(t *testing.T) {
	t.Helper()
	rows := make(map[string]string)
	for line := range strings.Lines(f.new.query("select key, host from writes")) {
		key, host, _ := strings.Cut(strings.TrimSpace(line), "|")
		rows[key] = host
	}
	for _, o := range f.fronts {
		for _, one := range o.writes {
			if one.err != nil {
				continue
			}
			if one.host == f.old.host && one.written.After(f.promoted) {
				t.Errorf("%s: %s wrote a row at %s, when the leader was %s", f.name, o.name, f.old.name, f.new.name)
			}
			unsent := f.crash && one.written.After(f.at.Add(-time.Second)) && one.host == f.old.host
			if host, there := rows[one.key]; host != one.host && (there || !unsent) {
				t.Errorf("%s: the row %q was written at %s, and %s has it from %q", f.name, one.key, one.host,
					f.new.name, host)
			}
		}
	}
}

// since says when something was, from the beginning of the fault.
func (f *patroniFault) since(when time.Time) string {
	if when.IsZero() {
		return "-"
	}
	return fmt.Sprintf("%+.2f s", when.Sub(f.at).Seconds())
}

// logPatroniTimes prints what came of faults. All times are from the beginning of the fault.
func logPatroniTimes(t *testing.T, faults []*patroniFault) {
	t.Helper()
	var text strings.Builder
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "Patroni's\tthrough\tfound down\told sessions gone\tpromoted\tfirst write\t"+
		"new connections\tlongest wait\tinserts cut\tfailed")
	for _, f := range faults {
		for _, o := range f.fronts {
			fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%.2f s\t%d\t%d\n", f.name, o.name, f.since(o.found),
				f.since(o.closed), f.since(f.promoted), f.since(o.first), o.served+o.refused, o.longest.Seconds(),
				o.cut, o.refused)
		}
	}
	table.Flush() // to memory
	showTable(t, "Times after the fault, a real Patroni behind sluice and behind HAProxy", text.String())
}
