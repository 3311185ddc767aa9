package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/cmd/sluice/internal/admin"
)

// sourceTable is where backends come from that are not in the configuration.
func sourceTable(sources []admin.SourceStatus) *table {
	t := newTable("SOURCE", "POOLS", "BACKENDS>", "ANSWERED", "FAILURES>", "PROBLEM")
	for _, s := range sources {
		backends := "-" // it is there for something else
		if len(s.Pools) > 0 {
			backends = strconv.Itoa(s.Backends)
		}
		t.row(s.Source, listText(s.Pools), backends, answeredText(s), s.Failures, problemText(s))
	}
	return t
}

// answeredText says when a source has answered last.
func answeredText(s admin.SourceStatus) string {
	switch {
	case s.Answered.IsZero():
		return "never"
	case s.Restored:
		return "before, " + agoText(s.Answered)
	}
	return agoText(s.Answered)
}

func agoText(t time.Time) string {
	return time.Since(t).Round(time.Second).String() + " ago"
}

// problemText is what is wrong with a source, or with one of the backends that it has.
func problemText(s admin.SourceStatus) string {
	switch {
	case s.Problem != "":
		return s.Problem
	case s.Generation > 0 && s.Backends == 0 && len(s.Pools) > 0:
		return noneText(s)
	case len(s.Warnings) > 1:
		return fmt.Sprintf("%s (and %d more)", s.Warnings[0], len(s.Warnings)-1)
	case len(s.Warnings) == 1:
		return s.Warnings[0]
	}
	return "-"
}

// noneText says that a source has no backends, why, and what becomes of those of before.
func noneText(s admin.SourceStatus) string {
	text := "it says that there are none"
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	if s.Kept > 0 {
		text += fmt.Sprintf(": the %d of before are kept (on_empty)", s.Kept)
	}
	return text
}

// sourceNotice is what a source has to say of single backends, where its row has no room for that; "" = nothing.
func sourceNotice(s admin.SourceStatus) string {
	if len(s.Warnings) == 0 || s.Warnings[0] == problemText(s) {
		return ""
	}
	return fmt.Sprintf("\n%s:\n  %s\n", s.Source, strings.Join(s.Warnings, "\n  "))
}
