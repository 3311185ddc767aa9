package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
	"sluice/configs"
)

const (
	// askTimeout bounds a question to a running sluice: it answers within milliseconds, or something is wrong.
	askTimeout = 5 * time.Second
	// changeTimeout bounds a change. It may look up names, and read files from a server that is slow.
	changeTimeout = 5 * time.Minute
)

// An asker asks a running sluice for a command.
type asker struct{ socket string }

func (a *asker) flag(c *cobra.Command) {
	c.Flags().StringVar(&a.socket, "socket", configs.DefaultSocket, "`PATH` of the running sluice's control socket")
}

// fetch asks and reads the answer, which it also returns as it came.
func (a *asker) fetch(r admin.Request, answer any) ([]byte, error) {
	timeout := askTimeout
	if r.Method != http.MethodGet {
		timeout = changeTimeout
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	text, err := admin.Fetch(ctx, a.socket, r, answer)
	return text, explainAnswer(a.socket, err)
}

// await is fetch for what takes as long as it takes.
func (a *asker) await(r admin.Request, answer any) ([]byte, error) {
	text, err := admin.Fetch(context.Background(), a.socket, r, answer)
	return text, explainAnswer(a.socket, err)
}

// open asks for an answer that comes bit by bit.
func (a *asker) open(r admin.Request) (io.ReadCloser, error) {
	body, err := admin.Open(context.Background(), a.socket, r)
	return body, explainAnswer(a.socket, err)
}

// explainAnswer makes an error of the command of what a sluice has answered, with the exit status that it is to have.
func explainAnswer(socket string, err error) error {
	refusal := (*admin.Refusal)(nil)
	if !errors.As(err, &refusal) {
		return explainSocket(socket, err)
	}
	switch {
	case len(refusal.Problems) > 0:
		return withProblems{refusal, refusal.Problems}
	case refusal.Status == http.StatusUnprocessableEntity:
		return configError{refusal}
	case refusal.Status == http.StatusBadRequest:
		return usageError{refusal}
	}
	return refusal
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

func isSocket(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().Type() == fs.ModeSocket
}

// printRefusal prints why something was refused, as the API says it.
func printRefusal(out io.Writer, why error) error {
	refusal := (*admin.Refusal)(nil)
	if !errors.As(why, &refusal) {
		return nil
	}
	return json.NewEncoder(out).Encode(admin.Failure{Error: refusal.Message, Problems: refusal.Problems})
}
