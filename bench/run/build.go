package main

import (
	"context"

	"sluice/bench/record"
)

// build compiles the programs of this module that are to be measured, and
// returns the module's folder.
func build(ctx context.Context, bin string, systems []system) (root string, err error) {
	if root, err = record.Root(ctx); err != nil {
		return "", err
	}
	packages := map[string]string{sluice: "./cmd/sluice", ioCopy: "./bench/iocopy"}
	for _, s := range systems {
		if from, ours := packages[s.rival]; ours {
			if err := record.Build(ctx, root, bin, from); err != nil {
				return "", err
			}
		}
	}
	return root, nil
}
