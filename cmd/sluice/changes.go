package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/cmd/sluice/internal/change"
)

// changeOptions are the flags of every command that changes something.
type changeOptions struct {
	asker
	dryRun, asJSON bool
}

func (o *changeOptions) flags(c *cobra.Command) {
	o.flag(c)
	c.Flags().BoolVar(&o.dryRun, "dry-run", false, "only say what would change")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the answer of the API as it is")
}

// carryOut asks for a change and prints what it is.
func (o *changeOptions) carryOut(out io.Writer, r admin.Request) error {
	if o.dryRun {
		if r.Query == nil {
			r.Query = url.Values{}
		}
		r.Query.Set("dry_run", "true")
	}
	var done change.Change
	text, err := o.fetch(r, &done)
	if err != nil {
		if o.asJSON {
			err = errors.Join(err, printRefusal(out, err))
		}
		return err
	}
	if o.asJSON {
		_, err = out.Write(text)
		return err
	}
	_, err = io.WriteString(out, changeText(&done))
	return err
}

// changeText writes a change for people, and which configuration is in force then.
func changeText(c *change.Change) string {
	var b strings.Builder
	b.WriteString(c.String())
	switch {
	case c.DryRun && c.Empty():
		b.WriteString("nothing would change\n")
	case c.DryRun:
		b.WriteString("a dry run: nothing has changed\n")
	case c.Empty():
		fmt.Fprintf(&b, "nothing has changed: generation %d is in force\n", c.Generation)
	default:
		fmt.Fprintf(&b, "generation %d is in force\n", c.Generation)
	}
	return b.String()
}
