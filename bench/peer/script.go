package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// A step is one parsed line of a script: a verb and its argument, of which the verb's kind says which field holds it.
type step struct {
	verb  string
	word  string // an address, or the bytes of a text
	count int
	pause time.Duration
}

// arguments says what each verb takes.
var arguments = map[string]string{
	"connect": "address", "listen": "address", "accept": "", "send": "count", "text": "string", "recv": "count",
	"drain": "", "pause": "duration", "fin": "", "rst": "", "close": "",
}

func parse(script string) (steps []step, err error) {
	for i, text := range split(script) {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		s, err := parseStep(text)
		if err != nil {
			return nil, fmt.Errorf("step %d: %q: %w", i+1, text, err)
		}
		steps = append(steps, s)
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("empty script")
	}
	return steps, nil
}

// split cuts at the semicolons that are not inside a string literal.
func split(script string) (parts []string) {
	quoted, from := false, 0
	for i := 0; i < len(script); i++ {
		switch c := script[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case c == ';' && !quoted:
			parts = append(parts, script[from:i])
			from = i + 1
		}
	}
	return append(parts, script[from:])
}

func parseStep(text string) (s step, err error) {
	verb, argument, _ := strings.Cut(text, " ")
	argument = strings.TrimSpace(argument)
	kind, known := arguments[verb]
	if !known {
		return s, fmt.Errorf("unknown step")
	}
	if (kind == "") != (argument == "") {
		return s, fmt.Errorf("want %s", strings.TrimSpace(verb+" "+strings.ToUpper(kind)))
	}
	s.verb = verb
	switch kind {
	case "address":
		s.word = argument
	case "string":
		s.word, err = strconv.Unquote(argument)
	case "count":
		s.count, err = strconv.Atoi(argument)
		if err == nil && s.count < 0 {
			err = fmt.Errorf("negative count")
		}
	case "duration":
		s.pause, err = time.ParseDuration(argument)
	}
	return s, err
}
