package main

import (
	"errors"
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
)

func newDiffCommand() *cobra.Command {
	o := changeOptions{dryRun: true}
	var paths []string
	c := &cobra.Command{
		Use:   "diff FILE...",
		Short: "Say what a configuration would change in a running sluice",
		Long: "Say what a configuration would change in a running sluice, were it in the place of its own. Nothing is changed.\n\n" +
			"The exit status is 0 whether there is a difference or not, and 3 when the configuration is wrong.",
		Example: "  sluice diff -c next.yaml\n  ssh web1 sluice diff - < next.yaml",
		RunE: func(c *cobra.Command, args []string) error {
			paths := append(paths, args...)
			if len(paths) == 0 {
				return misused("no file to compare: give one")
			}
			texts, given, err := readTexts(paths)
			if err != nil {
				return err
			}
			err = o.carryOut(c.OutOrStdout(), admin.Request{
				Method: http.MethodPost, Path: "/api/v1/reload", Body: map[string]any{"files": texts},
			})
			return asGiven(err, given)
		},
	}
	configFlag(c, &paths)
	o.flag(c)
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the answer of the API as it is")
	return c
}

// readTexts reads the files of a configuration. Their names become absolute: the sluice that looks for what they name may
// run in another folder. given has the names as they were, by those that they get.
func readTexts(paths []string) (texts []configs.SourceText, given map[string]string, err error) {
	if texts, err = configs.ReadTexts(paths...); err != nil {
		return nil, nil, err
	}
	folder, err := filepath.Abs(".")
	if err != nil {
		return nil, nil, err
	}
	given = make(map[string]string)
	for i, t := range texts {
		if !filepath.IsAbs(t.Name) {
			texts[i].Name = filepath.Join(folder, t.Name)
			given[texts[i].Name] = t.Name
		}
	}
	return texts, given, nil
}

// asGiven puts names of files in problems back to what they were.
func asGiven(err error, given map[string]string) error {
	problems := configs.Problems(nil)
	if !errors.As(err, &problems) {
		return err
	}
	for i, p := range problems {
		if name, ok := given[p.File]; ok {
			problems[i].File = name
		}
	}
	return problems
}
