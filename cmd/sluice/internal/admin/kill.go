package admin

import (
	"context"
	"math"
	"net/url"
	"strconv"
	"strings"
	"time"

	"sluice/l4"
)

// Killed is the answer of a request to end sessions.
type Killed struct {
	Matched int `json:"matched"` // sessions that were asked for, and were there
	Ended   int `json:"ended"`   // 0 of a dry run; fewer than matched: some have ended meanwhile, or the client has left
}

// kill ends the sessions that are asked for: those that are there when it begins.
func (s *Server) kill(ctx context.Context, a asked) (any, error) {
	picked, err := parseKill(a.query)
	if err != nil {
		return nil, err
	}
	perSecond, err := parseRate(a.query.Get("rate"))
	if err != nil {
		return nil, err
	}
	var refs []l4.SessionRef
	err = s.options.Visit(ctx, func(some []l4.SessionStats) error {
		for i := range some {
			if picked(&some[i]) {
				refs = append(refs, some[i].Ref())
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	killed := Killed{Matched: len(refs)}
	if !a.by.DryRun {
		s.options.Logger.Info("sessions are killed", "by", a.by.User, "sessions", len(refs), "rate", perSecond)
		killed.Ended = killEvenly(ctx, refs, perSecond, s.options.Kill)
	}
	return killed, nil
}

// parseKill says which sessions are to end. That it is all of them must be said.
func parseKill(query url.Values) (picked func(*l4.SessionStats) bool, err error) {
	filter, err := parseSessionFilter(query)
	if err != nil {
		return nil, err
	}
	all, err := flagOf(query, "all")
	if err != nil {
		return nil, err
	}
	ids := make(map[uint64]bool)
	for _, text := range query["id"] {
		id, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			return nil, Invalidf("id=%.64q: want the number of a session", text)
		}
		ids[id] = true
	}
	ways := 0
	for _, given := range []bool{all, len(ids) > 0, filter != sessionFilter{}} {
		if given {
			ways++
		}
	}
	switch {
	case ways == 0:
		return nil, Invalidf("which sessions? Give id, all=true, or some of listener, pool, backend, client, state, idle and older")
	case ways > 1:
		return nil, Invalidf("id, all=true and what sessions are chosen by exclude each other")
	case len(ids) > 0:
		return func(of *l4.SessionStats) bool { return ids[of.ID] }, nil
	}
	return filter.passes, nil
}

// maxRate is beyond what anybody would call a rate.
const maxRate = 1e6

// parseRate returns how many in a second; 0 = as many as there can be.
func parseRate(value string) (float64, error) {
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseFloat(strings.TrimSuffix(value, "/s"), 64)
	if err != nil || math.IsNaN(n) || n <= 0 || n > maxRate {
		return 0, Invalidf("rate=%.64q: want how many in a second, such as 50/s", value)
	}
	return n, nil
}

// killEvenly ends sessions at a rate, until ctx is done. It returns how many it has ended. Each has a time of its own: when
// one comes late, those behind it do not.
func killEvenly(ctx context.Context, refs []l4.SessionRef, perSecond float64, kill func(l4.SessionRef) bool) (ended int) {
	began := time.Now()
	for i, ref := range refs {
		if perSecond > 0 && !sleepUntil(ctx, began.Add(time.Duration(float64(i)*float64(time.Second)/perSecond))) {
			return ended
		}
		if ctx.Err() != nil {
			return ended
		}
		if kill(ref) {
			ended++
		}
	}
	return ended
}

// sleepUntil returns false when ctx is done before.
func sleepUntil(ctx context.Context, at time.Time) bool {
	wait := time.Until(at)
	if wait <= 0 {
		return true
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
