package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
)

// askTimeout bounds a question to a running sluice: it answers within milliseconds, or something is wrong.
const askTimeout = 5 * time.Second

func newStatusCommand() *cobra.Command {
	var asJSON bool
	var socket string
	c := &cobra.Command{
		Use:   "status",
		Short: "Show the listeners, pools, backends and counters of a running sluice",
		Args:  noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
			defer cancel()
			status, text, err := admin.FetchStatus(ctx, socket)
			if err != nil {
				return explainSocket(socket, err)
			}
			if asJSON {
				_, err = c.OutOrStdout().Write(text)
				return err
			}
			return printStatus(c.OutOrStdout(), status)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print the answer of /api/v1/status as it is")
	c.Flags().StringVar(&socket, "socket", configs.DefaultSocket, "`PATH` of the running sluice's control socket")
	return c
}

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// explainSocket says what it means that a control socket does not answer.
func explainSocket(socket string, err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("nothing listens at %s: sluice does not run, or has another control socket (--socket PATH names it) or none", socket)
	case errors.Is(err, syscall.ECONNREFUSED) && !isSocket(socket):
		return fmt.Errorf("ask %s: it is not a socket", socket)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nothing listens at %s: the sluice that made it has ended", socket)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("ask %s: permission denied: only the user that sluice runs as, and root, may", socket)
	}
	return err
}
