package configs

import (
	"fmt"
	"regexp"
	"strings"
)

// Values may name variables of the environment: ${NAME}, or ${NAME:-default} for one that is not set or empty. $$ is one
// dollar. They are put in after the file was parsed, so that what is in them never changes its structure. YAML gives
// braces, colons and commas a meaning of their own where no quotes are, so the lexer does not get to see those of a
// variable: shield puts others in their place, of the same number, and unshield takes them out of its tokens.

// shieldOffset moves ASCII into a private use area of Unicode, which no file may have characters of.
const shieldOffset = 0xf0000

func isShielded(r rune) bool { return r >= shieldOffset && r <= shieldOffset+0xffff }

const variableForm = `\$\{([A-Za-z_][A-Za-z0-9_]*)(?:(:-)([^}"'\\\n]*))?\}`

var (
	variable      = regexp.MustCompile(variableForm)
	firstVariable = regexp.MustCompile(`^` + variableForm)
)

func shield(text string) string {
	if !strings.Contains(text, "${") {
		return text
	}
	return variable.ReplaceAllStringFunc(text, func(v string) string {
		return strings.Map(func(r rune) rune {
			if r < 0x80 {
				r += shieldOffset
			}
			return r
		}, v)
	})
}

func unshield(text string) string {
	if !strings.ContainsFunc(text, isShielded) {
		return text
	}
	return strings.Map(func(r rune) rune {
		if isShielded(r) {
			r -= shieldOffset
		}
		return r
	}, text)
}

// A lookupEnv finds a variable of the environment, as os.LookupEnv does.
type lookupEnv func(name string) (string, bool)

// substitute puts the values of variables into text.
func substitute(text string, env lookupEnv) (string, error) {
	var b strings.Builder
	for {
		at := strings.IndexByte(text, '$')
		if at < 0 || at+1 == len(text) {
			b.WriteString(text)
			return b.String(), nil
		}
		b.WriteString(text[:at])
		text = text[at:]
		switch text[1] {
		case '$':
			b.WriteByte('$')
			text = text[2:]
		case '{':
			match := firstVariable.FindStringSubmatch(text)
			if match == nil {
				return "", fmt.Errorf("%s is no variable: write ${NAME} or ${NAME:-default}, or $${ for these two characters",
					quote(text))
			}
			value, err := valueOf(match, env)
			if err != nil {
				return "", err
			}
			b.WriteString(value)
			text = text[len(match[0]):]
		default:
			b.WriteByte('$')
			text = text[1:]
		}
	}
}

// valueOf returns the value of a variable; match is what the expression found.
func valueOf(match []string, env lookupEnv) (string, error) {
	value, set := env(match[1])
	switch {
	case match[2] != "" && value == "":
		return match[3], nil
	case !set:
		return "", fmt.Errorf("variable %s is not set: set it, or write ${%s:-DEFAULT}", match[1], match[1])
	}
	return value, nil
}
