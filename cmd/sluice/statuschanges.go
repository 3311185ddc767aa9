package main

import (
	"fmt"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
)

// timeText writes when something was, as the clock on the wall shows it.
func timeText(t time.Time) string { return t.Local().Format(time.DateTime) }

// generationText says which configuration is in force, how the last reload went and what waits; "" when a sluice is too old
// to know.
func generationText(g admin.Generation) string {
	if g.Number == 0 {
		return ""
	}
	var b strings.Builder
	fmt.Fprintf(&b, "generation %d, in force since %s\n", g.Number, timeText(g.Since))
	if last := g.LastReload; last != nil && !last.OK {
		fmt.Fprintf(&b, "the last reload, at %s, has FAILED and changed nothing:\n", timeText(last.At))
		for _, p := range last.Problems {
			fmt.Fprintf(&b, "  %s\n", p)
		}
		if len(last.Problems) == 0 {
			fmt.Fprintf(&b, "  %s\n", last.Error)
		}
	}
	for _, k := range g.Pending {
		fmt.Fprintf(&b, "%s: waits for the next start or upgrade\n", k)
	}
	return b.String()
}

// upgradeText says how the last upgrade went; "" when there was none.
func upgradeText(u *admin.UpgradeStatus) string {
	if u == nil {
		return ""
	}
	if !u.OK {
		return fmt.Sprintf("the last upgrade, at %s, has FAILED, and the process that there was goes on:\n  %s\n", timeText(u.At), u.Error)
	}
	left := ""
	if u.Left > 0 {
		left = fmt.Sprintf(", %s left behind", plural(u.Left, "session"))
	}
	pause := ""
	if u.Sessions > 0 {
		pause = fmt.Sprintf(", a session stood still for %s at most", pauseText(u.LongestPause))
	}
	return fmt.Sprintf("upgraded from %s at %s: %s came over in %s%s; nobody was accepted for %s%s\n", u.FromVersion, timeText(u.At),
		plural(u.Sessions, "session"), pauseText(u.Total), left, pauseText(u.AcceptPause), pause)
}

// pauseText writes seconds, as finely as anybody notices.
func pauseText(seconds float64) string {
	return time.Duration(seconds * float64(time.Second)).Round(100 * time.Microsecond).String()
}

// overrideText lists what an operator has set; "" when that is nothing.
func overrideText(all []admin.OverrideStatus) string {
	if len(all) == 0 {
		return ""
	}
	t := newTable("OVERRIDE", "KEY", "VALUE", "IN FILE", "SINCE", "BY")
	notices := ""
	for _, o := range all {
		t.row(o.Pool+"/"+o.Backend, o.Key, o.Value, o.InFile, timeText(o.Since), o.By)
		if o.Dormant {
			notices += fmt.Sprintf("\noverride %s/%s %s: no effect now, there is no such backend\n", o.Pool, o.Backend, o.Key)
		}
	}
	var b strings.Builder
	b.WriteByte('\n')
	t.print(&b)
	b.WriteString(notices)
	return b.String()
}
