package health

import "testing"

func TestRiseAndFall(t *testing.T) {
	// A dot is a success, an x a failure; below each is the state after it: U up, d down, u and D: the same, but changing.
	f := func(rise, fall int, results, want string) {
		t.Helper()
		var s checkState
		var got []byte
		for _, r := range results {
			s.observe(r == '.', rise, fall)
			state := map[bool]string{true: "Uu", false: "dD"}[s.up]
			if s.changing() {
				got = append(got, state[1])
			} else {
				got = append(got, state[0])
			}
		}
		if string(got) != want {
			t.Errorf("rise %d, fall %d, %s: %s, want %s", rise, fall, results, got, want)
		}
	}
	f(2, 3, ".xxx", "Uuud")
	f(2, 3, "x", "d") // the first decides alone
	f(2, 3, "x.", "dD")
	f(2, 3, "x..", "dDU")
	f(2, 3, "x.x..", "dDdDU")
	f(2, 3, ".xx.xx.xxx", "UuuUuuUuud")
	f(2, 3, ".xxxx..xx.", "UuuddDUuuU")
	f(1, 1, ".x.x", "UdUd")
	f(3, 2, "xx...xx", "ddDDUud")
}

// With a verdict by another question at hand no single answer decides.
func TestPatience(t *testing.T) {
	f := func(rise, fall int, results string, decided, up bool) {
		t.Helper()
		s := checkState{patient: true}
		for _, r := range results {
			s.observe(r == '.', rise, fall)
		}
		if s.decided != decided || s.up != up || s.down() != (decided && !up) {
			t.Errorf("rise %d, fall %d, %s: %+v, want decided %v, up %v", rise, fall, results, s, decided, up)
		}
	}
	f(2, 3, ".", false, false)
	f(2, 3, "xx", false, false)
	f(2, 3, ".x.xx", false, false)
	f(2, 3, "..", true, true)
	f(2, 3, "xxx", true, false)
	f(1, 3, ".", true, true)
	f(2, 3, "..xx", true, true)
}

func TestForgetLetsTheNextCheckDecide(t *testing.T) {
	var s checkState
	s.observe(true, 2, 3)
	s.observe(false, 2, 3)
	s.forget()
	if s != (checkState{}) || s.changing() {
		t.Errorf("after forget: %+v, want nothing", s)
	}
	s.observe(false, 2, 3)
	if s.up || !s.decided {
		t.Error("the first failure after forget did not decide")
	}
}
