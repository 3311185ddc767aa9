package labels

import (
	"errors"
	"slices"
	"strings"

	"sluice/configs"
	"sluice/pool/discovery/docker"
)

// textName is how problems call the text that is made of labels.
const textName = "labels of containers"

// A Result is the configuration of some files and of the labels of containers.
type Result struct {
	File     *configs.File
	YAML     string   // what was made of labels
	Warnings []string // what is wrong with containers, whose labels do not count for that reason

	served map[string]bool // pools of containers that a listener gives sessions to
}

// Idle returns, as warnings, which of some containers get no sessions because no listener is for their pool.
func (r *Result) Idle(containers []docker.Container) []string { return idle(containers, r.served) }

// Resolve returns the configuration that the texts of files and the labels of an engine's containers, the oldest first, are
// together. What is wrong with labels is a warning, and what is wrong with the files an error, configs.Problems.
func Resolve(texts []configs.SourceText, socket string, containers []docker.Container) (*Result, error) {
	return resolve(texts, socket, containers, nil, configs.ParseTexts)
}

type parseFunc func(...configs.SourceText) (*configs.File, error)

// resolve leaves out what is wrong until nothing is. Each time it is less.
func resolve(texts []configs.SourceText, socket string, containers []docker.Container, failed map[string]string, parse parseFunc) (*Result, error) {
	refused, known := make(map[string]string), make(map[string]bool)
	for {
		p := newPlan(containers, failed, refused, known)
		lines := p.text(socket)
		all := append(slices.Clip(texts), configs.SourceText{Name: textName, Text: join(lines), Generated: true})
		file, err := parse(all...)
		if err == nil {
			file.Warnings = slices.DeleteFunc(file.Warnings, func(w configs.Problem) bool { return w.File == textName })
			return &Result{File: file, YAML: join(lines), Warnings: p.warnings(), served: served(file, socket)}, nil
		}
		var problems configs.Problems
		if !errors.As(err, &problems) || !p.blame(problems, lines, refused, known) {
			return nil, err
		}
	}
}

// blame finds out what is to be left out because of problems, and reports whether there is any. A pool that files have too is
// theirs.
func (p *plan) blame(problems configs.Problems, lines []line, refused map[string]string, known map[string]bool) (any bool) {
	for _, problem := range problems {
		if problem.File != textName || problem.Line < 1 || problem.Line > len(lines) {
			continue
		}
		l := lines[problem.Line-1]
		if l.pool != "" && strings.HasPrefix(problem.Message, "duplicate ") { // no two of the labels have one name
			known[l.pool], any = true, true
			continue
		}
		for _, i := range l.by {
			if id := p.containers[i].ID; refused[id] == "" {
				refused[id], any = l.problem(problem.Message), true
			}
		}
	}
	return any
}

// problem returns what is wrong with a line in terms of labels: nobody has written its key.
func (l *line) problem(message string) string {
	if l.label == "" {
		return message
	}
	return "label " + l.label + ": " + strings.TrimPrefix(message, l.key+" ")
}
