package health

import (
	"strings"
	"testing"
	"time"

	"sluice/health/probe"
)

// factOf reads what is known of a server from text such as "pg1 up primary 3", "pg2 down primary 3" (when it last
// answered) or "pg3 up replica".
func factOf(text string) fact {
	words := strings.Fields(text)
	f := fact{
		name: words[0], checks: checkState{decided: true, successes: 1, up: true}, current: true, answering: true, wanted: true,
	}
	for _, w := range words[1:] {
		switch w {
		case "up":
		case "down":
			f.checks, f.failure = checkState{decided: true, failures: 3}, "nobody home"
			f.current, f.answering = false, false
		case "rising":
			f.checks.up = false
		case "missed": // one check, which is not enough to take it down
			f.checks.successes, f.checks.failures, f.answering = 0, 1, false
		case "unchecked":
			f.checks, f.current, f.answering = checkState{}, false, false
		case "short":
			f.failure = "too many open files"
		case "maint":
			f.maint = true
		case "unwanted":
			f.wanted = false
		case "was-up":
			f.before = verdict{up: true}
		case "replica":
			f.answer = &probe.DatabaseAnswer{System: 7}
			f.behindKnown = true
		case "lagging":
			f.behind, f.lag = 90*time.Second, checkState{decided: true, failures: 3}
		case "lagging-less":
			f.behind, f.lag = 12345678*time.Microsecond, checkState{decided: true, failures: 3}
		case "catching-up":
			f.lag = checkState{decided: true, successes: 1}
		case "lag-unknown":
			f.behindKnown, f.lag = false, checkState{decided: true, failures: 3}
		case "primary":
			f.answer = &probe.DatabaseAnswer{Primary: true, System: 7}
		case "other-system":
			f.answer.System = 8
		default: // a timeline of one digit
			f.answer.Timeline = uint32(w[0] - '0')
		}
	}
	return f
}

// judged returns the verdicts as text, one a line.
func judged(c Config, seen timelines, facts ...string) string {
	all := make([]fact, len(facts))
	for i, text := range facts {
		all[i] = factOf(text)
	}
	seen.learn(all)
	var lines []string
	for _, v := range judge(c, all, seen) {
		switch {
		case v.spared != "":
			lines = append(lines, "spared: "+v.spared)
		case v.up && v.backup:
			lines = append(lines, "up, backup")
		case v.up:
			lines = append(lines, "up")
		case v.cause == CauseNone:
			lines = append(lines, "down: "+v.reason)
		default:
			lines = append(lines, v.cause.String()+": "+v.reason)
		}
	}
	return strings.Join(lines, "\n")
}

func TestVerdictByRole(t *testing.T) {
	f := func(role Role, server, want string) {
		t.Helper()
		c := postgres(role)
		c.MaxLag = 10 * time.Second
		if got := judged(c, timelines{}, server); got != want {
			t.Errorf("role %v, %q: %q, want %q", role, server, got, want)
		}
	}
	const (
		wantsPrimary  = "demoted: is a replica, the pool wants the primary"
		wantsReplicas = "promoted: is the primary, the pool wants replicas"
	)
	f(RoleAny, "pg1 up primary 1", "up")
	f(RoleAny, "pg1 up replica", "up")
	f(RoleAny, "pg1 up replica lagging", "spared: lags 1m30s, the limit is 10s")
	f(RolePrimary, "pg1 up primary 1", "up")
	f(RolePrimary, "pg1 up replica", wantsPrimary)
	f(RolePrimary, "pg1 up replica lagging", wantsPrimary)
	f(RoleReplica, "pg1 up primary 1", wantsReplicas)
	f(RoleReplica, "pg1 up replica", "up")
	f(RoleReplica, "pg1 up replica lagging", "spared: lags 1m30s, the limit is 10s")
	f(RoleReplica, "pg1 up replica lagging-less", "spared: lags 12.346s, the limit is 10s")
	f(RoleReplica, "pg1 up replica lag-unknown", "spared: cannot tell how far it lags, the limit is 10s")
	f(RoleReplica, "pg1 up replica catching-up", "spared: lagged more than 10s, keeps up again, 1 of 2 checks so far")
	f(RolePreferReplica, "pg1 up primary 1", "up, backup")
	f(RolePreferReplica, "pg1 up replica", "up")
	f(RolePreferReplica, "pg1 up replica lagging", "spared: lags 1m30s, the limit is 10s")

	for _, role := range []Role{RoleAny, RolePrimary, RoleReplica, RolePreferReplica} {
		f(role, "pg1 down primary 1", "failed: nobody home")
		f(role, "pg1 down replica", "failed: nobody home")
		f(role, "pg1 down", "failed: nobody home")
		f(role, "pg1 rising replica", "failed: answers again, 1 of 2 checks so far")
		f(role, "pg1 unchecked was-up", "down: not checked yet")
		f(role, "pg1 up", "failed: does not say whether it is a primary or a replica")
		f(role, "pg1 up primary 1 maint", "maint: in maintenance")
	}
}

// A server that is only asked whether it answers keeps its state until it has been.
func TestVerdictWithoutRole(t *testing.T) {
	f := func(c Config, server, want string) {
		t.Helper()
		if got := judged(c, timelines{}, server); got != want {
			t.Errorf("%q: %q, want %q", server, got, want)
		}
	}
	for _, c := range []Config{steady(), postgres(RoleAny)} {
		f(c, "a up", "up")
		f(c, "a down", "failed: nobody home")
		f(c, "a unchecked was-up", "up")
		f(c, "a unchecked", "down: ")
		f(c, "a up maint", "up")
	}
	tcp := steady()
	tcp.Role = RolePrimary // means nothing to it
	f(tcp, "a up", "up")
	f(tcp, "a unchecked was-up", "up")
}

func TestElection(t *testing.T) {
	f := func(want string, facts ...string) {
		t.Helper()
		if got := judged(postgres(RolePrimary), timelines{}, facts...); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", facts, got, want)
		}
	}
	const replica = "\ndemoted: is a replica, the pool wants the primary"
	f("up"+replica, "pg1 up primary 1", "pg2 up replica")
	f("demoted: claims to be primary on timeline 1, pg2 is on timeline 2\nup", "pg1 up primary 1", "pg2 up primary 2")
	f("up\ndemoted: claims to be primary on timeline 1, pg1 is on timeline 2", "pg1 up primary 2", "pg2 missed primary 1")
	// One that has begun to answer again is believed at once, though it serves only later.
	f("demoted: claims to be primary on timeline 1, pg2 is on timeline 2\nfailed: answers again, 1 of 2 checks so far",
		"pg1 up primary 1", "pg2 rising primary 2")

	const tied = "split: claims to be primary on timeline 2, and so does pg2\n" +
		"split: claims to be primary on timeline 2, and so does pg1"
	f(tied+replica, "pg1 up primary 2", "pg2 up primary 2", "pg3 up replica")
	f(tied+"\ndemoted: claims to be primary on timeline 1, pg1 is on timeline 2",
		"pg1 up primary 2", "pg2 rising primary 2", "pg3 up primary 1")
	f("split: claims to be primary of the cluster with system identifier 7, pg2 of another one, 8\n"+
		"split: claims to be primary of the cluster with system identifier 8, pg1 of another one, 7",
		"pg1 up primary 5", "pg2 up primary other-system 6")
	f("up\nmaint: in maintenance", "pg1 up primary 2", "pg2 up primary 2 maint") // the operator has decided

	// Nobody is elected before everybody has been asked once, and nobody is deposed for that.
	const waits = "down: claims to be primary, and waits until pg2 has been checked too\ndown: not checked yet"
	f(waits, "pg1 up primary 1", "pg2 unchecked")
	f("up\ndown: not checked yet", "pg1 up primary 1 was-up", "pg2 unchecked")
	f("up\nmaint: in maintenance", "pg1 up primary 1", "pg2 unchecked maint")
	f("up\ndown: not checked yet: too many open files", "pg1 up primary 1", "pg2 unchecked short")

	// An old primary that is silent is waited for only until another one has taken over.
	f("failed: nobody home"+replica, "pg1 down primary 1", "pg2 up replica")
	f("demoted: pg2 is the primary now, on timeline 2, and this one does not answer: nobody home\nup",
		"pg1 down primary 1", "pg2 up primary 2")
	f("failed: nobody home\nfailed: answers again, 1 of 2 checks so far", "pg1 down primary 1", "pg2 rising primary 2")
	f("failed: nobody home\nup", "pg1 down replica", "pg2 up primary 2")
}

// A primary that was left behind is never up again, not even when the better one is gone.
func TestStalePrimaryStaysDown(t *testing.T) {
	seen := timelines{}
	f := func(want string, facts ...string) {
		t.Helper()
		if got := judged(postgres(RolePrimary), seen, facts...); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", facts, got, want)
		}
	}
	f("up\ndemoted: is a replica, the pool wants the primary", "pg1 up primary 1", "pg2 up replica")
	f("demoted: pg2 is the primary now, on timeline 2, and this one does not answer: nobody home\nup",
		"pg1 down primary 1", "pg2 up primary 2")
	f("demoted: stale: claims to be primary on timeline 1, timeline 2 was seen on pg2\nfailed: nobody home",
		"pg1 up primary 1", "pg2 down primary 2")
	f("demoted: is a replica, the pool wants the primary\nup", "pg1 up replica", "pg2 up primary 2")
	f("up\nfailed: nobody home", "pg1 up primary 3", "pg2 down replica")
	f("up\nfailed: nobody home", "pg1 up primary other-system 1", "pg2 down replica") // another cluster starts at 1
	// Not so while the first cluster still has somebody to speak for it, however old.
	f("split: claims to be primary of the cluster with system identifier 8, pg2 of another one, 7\n"+
		"demoted: stale: claims to be primary on timeline 1, timeline 3 was seen on pg1",
		"pg1 up primary other-system 1", "pg2 up primary 1")
}

// A replica follows the highest timeline that it knows of.
func TestReplicaKnowsATimeline(t *testing.T) {
	f := func(want string, facts ...string) {
		t.Helper()
		if got := judged(postgres(RolePrimary), timelines{}, facts...); got != want {
			t.Errorf("%q:\n%s\nwant\n%s", facts, got, want)
		}
	}
	f("demoted: stale: claims to be primary on timeline 1, timeline 2 was seen on pg3\nfailed: nobody home\n"+
		"demoted: is a replica, the pool wants the primary", "pg1 up primary 1", "pg2 down", "pg3 up replica 2")
	f("up\ndemoted: is a replica, the pool wants the primary", "pg1 up primary 2", "pg2 up replica 1")
	f("up\nmaint: in maintenance", "pg1 up primary 1", "pg2 up replica 2 maint")
	f("up\nfailed: nobody home", "pg1 up primary 1", "pg2 down replica 2") // what it said before does not count now
	f("up\ndemoted: is a replica, the pool wants the primary", "pg1 up primary 1", "pg2 up replica other-system 2")
}

func TestSplitBrain(t *testing.T) {
	at := func(f fact, since, asked int) fact {
		f.primarySince, f.asked = time.Unix(int64(since), 0), time.Unix(int64(asked), 0)
		return f
	}
	g := func(was, want bool, facts ...fact) {
		t.Helper()
		if _, _, got := splitBrain(facts, was); got != want {
			t.Errorf("was %v, %+v: %v, want %v", was, facts, got, want)
		}
	}
	f := func(want bool, facts ...fact) {
		t.Helper()
		g(false, want, facts...)
	}
	one, two := factOf("pg1 up primary 1"), factOf("pg2 up primary 2")
	f(false)
	f(false, at(one, 1, 9))
	f(true, at(one, 1, 9), at(two, 5, 8))
	f(true, at(two, 5, 8), at(one, 1, 9))
	f(true, at(one, 3, 3), at(two, 3, 3))
	f(false, at(one, 1, 4), at(two, 5, 8)) // the first was last asked before the second was promoted
	f(false, at(two, 5, 8), at(one, 1, 4))
	f(false, at(one, 1, 9), at(factOf("pg2 missed primary 2"), 5, 8))
	f(false, at(one, 1, 9), at(factOf("pg2 down primary 2"), 5, 8))
	f(false, at(one, 1, 9), at(factOf("pg2 up primary 2 maint"), 5, 8))
	f(false, at(one, 1, 9), at(factOf("pg2 up replica"), 5, 8))
	f(true, at(one, 1, 9), at(factOf("pg2 up replica"), 5, 8), at(factOf("pg3 rising primary 1"), 2, 9))

	g(true, true, at(one, 1, 9), at(two, 5, 8))
	g(true, true, at(one, 1, 9), at(factOf("pg2 missed primary 2"), 5, 8))
	g(true, true, at(factOf("pg1 missed primary 1"), 1, 9), at(factOf("pg2 missed primary 2"), 5, 8))
	g(true, false, at(one, 1, 9), at(factOf("pg2 down primary 2"), 5, 8))
	g(true, false, at(one, 1, 9), at(factOf("pg2 up replica"), 5, 8))
	g(true, false, at(one, 1, 9), at(factOf("pg2 up primary 2 maint"), 5, 8))
	g(true, false, at(factOf("pg1 missed primary 1"), 1, 4), at(two, 5, 8)) // promoted anew since
}

func TestAllDown(t *testing.T) {
	const window = 3 * time.Second
	at := func(failing bool, began, out int) outage {
		o := outage{failing: failing, began: time.Unix(int64(began), 0)}
		if out > 0 {
			o.out = time.Unix(int64(out), 0)
		}
		return o
	}
	b := at(true, 100, 102)
	f := func(want bool, others ...outage) {
		t.Helper()
		if got := allDown(b, others, window); got != want {
			t.Errorf("with others %+v: %v, want %v", others, got, want)
		}
	}
	f(true) // alone
	f(true, at(true, 101, 103))
	f(true, at(true, 98, 101), at(true, 103, 105))
	f(true, at(true, 101, 0))    // about to go down
	f(false, at(false, 0, 0))    // up and well
	f(false, at(true, 104, 106)) // later
	f(false, at(true, 96, 101))  // earlier, and was up
	f(true, at(true, 50, 52))    // dead for long
	f(true, at(false, 0, 50))    // out for another cause for long
	f(false, at(false, 0, 101))  // went out for another cause meanwhile: it answers
	f(false, at(true, 101, 103), at(false, 0, 0))
}
