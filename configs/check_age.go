package configs

import (
	"regexp"
	"strconv"
	"time"

	"sluice/l4"
)

// A maxAgeDraft is a bound of the age of sessions whose keys are held against each other when all were read.
type maxAgeDraft struct {
	l4.MaxAge
	keyNotes
}

var maxAgeFields = noteKeys(fields[maxAgeDraft]{
	duration("age", 0, func(m *maxAgeDraft) *time.Duration { return &m.Age }),
	percent("jitter", func(m *maxAgeDraft) *float64 { return &m.Jitter }),
	boolean("idle_only", func(m *maxAgeDraft) *bool { return &m.IdleOnly }),
})

// leastAge leaves a session time for more than its login.
const leastAge = time.Second

func readMaxAge(d *decoder, v value, to *poolDraft) {
	before := len(d.problems)
	m := maxAgeDraft{MaxAge: to.MaxAge}
	maxAgeFields.decode(d, v, &m)
	age, hasAge := m.given["age"]
	switch {
	case len(d.problems) > before:
	case !hasAge:
		d.report(v.at, "max_session_age has no age: add one, for example age: 1h")
	case m.Age != 0 && m.Age < leastAge:
		d.report(age.at, "age is too short: write at least %v, or 0s for none", leastAge)
	}
	to.MaxAge = m.MaxAge
}

var percentForm = regexp.MustCompile(`^([0-9]{1,3})%$`)

// percent is a field with a part of something, from 0% to 100%.
func percent[T any](key string, at func(*T) *float64) field[T] {
	const want = "a whole number of percent from 0% to 100%, for example 10%"
	return field[T]{key: key, shape: orVariable(shape{"type": "string", "pattern": percentForm.String()}),
		read: func(d *decoder, v value, to *T) {
			if !d.present(v, want) {
				return
			}
			text := scalarText(v.node)
			parts := percentForm.FindStringSubmatch(text)
			switch {
			case bareNumber.MatchString(text):
				d.reportAt(v, "%s is a number without a unit: write percent, for example 10%%", key)
			case parts == nil:
				d.wrongType(v, want)
			default:
				n, _ := strconv.Atoi(parts[1]) // digits, at most three
				if n > 100 {
					d.reportAt(v, "%s is %s: write %s", key, text, want)
				}
				*at(to) = float64(n) / 100
			}
		}}
}
