package configs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/goccy/go-yaml/ast"
)

// standardInput is the path that stands for it, and its name in problems.
const (
	standardInput     = "-"
	standardInputName = "standard input"
)

// readSources reads the files of a configuration, in order. Those that cannot be read are all reported.
func readSources(paths []string) ([]*source, error) {
	var sources []*source
	var problems Problems
	for _, path := range paths {
		files, err := filesOf(path)
		if err != nil {
			problems = append(problems, Problem{File: path, Message: err.Error()})
		}
		for _, file := range files {
			data, err := readConfig(file)
			switch {
			case err != nil:
				problems = append(problems, Problem{File: file, Message: "read file: " + withoutPath(err).Error()})
				continue
			case len(data) > maxFileSize:
				problems = append(problems, Problem{File: file, Message: tooLarge})
				continue
			case file == standardInput:
				file = standardInputName
			}
			sources = append(sources, newSource(file, data))
		}
	}
	if len(problems) > 0 {
		return nil, problems
	}
	return sources, nil
}

func readConfig(path string) ([]byte, error) {
	if path == standardInput {
		return io.ReadAll(io.LimitReader(os.Stdin, maxFileSize+1))
	}
	return readFile(path, maxFileSize)
}

// filesOf returns the files that a path stands for: itself, or those of a folder that are configurations by their name,
// in order of it. Hidden ones are what editors leave behind.
func filesOf(path string) ([]string, error) {
	info, err := os.Stat(path)
	if err != nil || !info.IsDir() {
		return []string{path}, nil // reading it says what is wrong
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read folder: %w", withoutPath(err))
	}
	var files []string
	for _, e := range entries { // sorted by name
		if ext := filepath.Ext(e.Name()); e.Name()[0] != '.' && slices.Contains([]string{".yaml", ".yml"}, ext) {
			files = append(files, filepath.Join(path, e.Name()))
		}
	}
	if files == nil {
		return nil, fmt.Errorf("no *.yaml and no *.yml in this folder")
	}
	return files, nil
}

// wholeRoot returns the root of the configuration, in which aliases and variables have been replaced; nil: there is
// none, or a file is not YAML.
func (d *decoder) wholeRoot() ast.Node {
	var roots []ast.Node
	for number := range d.sources {
		before := len(d.problems)
		root := d.root(number)
		if root == nil || len(d.problems) > before {
			continue
		}
		e := expander{decoder: d, anchors: make(map[string]anchored)}
		root, _ = e.expand(root)
		roots = append(roots, root)
	}
	if len(roots) == 0 && len(d.problems) == 0 {
		d.report(d.sources[0].at(1, 1),
			"the file has no settings: it needs listeners and pools; `sluice init` prints a sample")
	}
	switch {
	case len(roots) == 0 || len(d.sources) > 1 && len(d.problems) > 0: // what is missing may be in the file that is not YAML
		return nil
	case len(d.sources) == 1:
		return roots[0]
	}
	return d.joinFiles(roots)
}
