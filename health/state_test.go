package health

import (
	"testing"
	"time"
)

func TestRiseAndFall(t *testing.T) {
	// A dot is a success, an x a failure; below each is the state after it: U up, d down.
	f := func(rise, fall int, results, want string) {
		t.Helper()
		s := checkState{up: true}
		var got []byte
		for i, r := range results {
			was := s.up
			now := time.Unix(int64(i), 0)
			changed := s.observe(now, r == '.', rise, fall)
			if changed != (s.up != was) || changed && s.since != now {
				t.Errorf("%s: result %d: changed %v, since %v, went from %v to %v", results, i, changed, s.since, was, s.up)
			}
			if s.up {
				got = append(got, 'U')
			} else {
				got = append(got, 'd')
			}
		}
		if string(got) != want {
			t.Errorf("rise %d, fall %d, %s: %s, want %s", rise, fall, results, got, want)
		}
	}
	f(2, 3, ".xxx", "UUUd")
	f(2, 3, "x", "d") // the first decides alone
	f(2, 3, "x.", "dd")
	f(2, 3, "x..", "ddU")
	f(2, 3, "x.x..", "ddddU")
	f(2, 3, ".xx.xx.xxx", "UUUUUUUUUd")
	f(2, 3, ".xxxx..xx.", "UUUdddUUUU")
	f(1, 1, ".x.x", "UdUd")
	f(3, 2, "xx...xx", "ddddUUd")
}

func TestForgetLetsTheNextCheckDecide(t *testing.T) {
	s := checkState{up: true}
	s.observe(time.Unix(1, 0), true, 2, 3)
	s.observe(time.Unix(2, 0), false, 2, 3)
	s.forget()
	if s.successes != 0 || s.failures != 0 || !s.up {
		t.Errorf("after forget: %+v, want no counts and still up", s)
	}
	if !s.observe(time.Unix(3, 0), false, 2, 3) || s.up {
		t.Error("the first failure after forget did not take the backend down")
	}
}

func TestJitterStaysInBounds(t *testing.T) {
	f := func(part, random float64, want time.Duration) {
		t.Helper()
		if got := jittered(time.Second, part, random); got != want {
			t.Errorf("jittered(1s, %v, %v) = %v, want %v", part, random, got, want)
		}
	}
	f(0, 0.9, time.Second)
	f(0.2, 0, 800*time.Millisecond)
	f(0.2, 0.5, time.Second)
	f(0.2, 0.75, 1100*time.Millisecond)
	f(1, 0, 0)
}
