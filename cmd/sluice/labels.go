package main

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/labels"
	"sluice/configs"
	"sluice/l4"
	"sluice/pool/discovery/docker"
)

// dockerFlag gives a command the flag for the engine whose containers have labels.
func dockerFlag(c *cobra.Command, socket *string) {
	c.Flags().Var((*optionalText)(socket), "docker",
		"make listeners and pools of the labels of the containers of the Docker Engine at this socket")
	c.Flags().Lookup("docker").NoOptDefVal = docker.DefaultSocket
}

// optionalText is a text after "=", or none. Its type has no name, which the help would show as one more word.
type optionalText string

func (t *optionalText) String() string     { return string(*t) }
func (t *optionalText) Set(s string) error { *t = optionalText(s); return nil }
func (*optionalText) Type() string         { return "" }

// strayed returns the error for an argument that is meant for the flag: what stands after it is no part of it.
func strayed(socket string, args []string) error {
	if socket != docker.DefaultSocket { // or it has a value
		return nil
	}
	for _, a := range args {
		text := a
		if strings.HasPrefix(a, "/") && strings.HasSuffix(a, ".sock") {
			text = "unix:" + a
		}
		if _, err := configs.ParseDockerSocket(text); err == nil {
			return misused("unexpected argument %q: write --docker=%s", a, text)
		}
	}
	return nil
}

// dockerSocket returns what the flag says.
func dockerSocket(text string) (string, error) {
	socket, err := configs.ParseDockerSocket(text)
	if err != nil {
		return "", misused("--docker: %v", err)
	}
	return socket, nil
}

// labelConfig is the part of the configuration that containers' labels are.
type labelConfig struct {
	*labels.Labels
	news  chan struct{}                 // one place: they say something else
	again func() (*configs.File, error) // reads the configuration with them, and the files as they were
	peek  func() (*configs.File, error) // reads it with the files as they are, only to look at it
}

func newLabelConfig(socket string) *labelConfig {
	news := make(chan struct{}, 1)
	return &labelConfig{news: news, Labels: labels.New(socket, func() {
		select {
		case news <- struct{}{}:
		default:
		}
	})}
}

// firstLabels is how long a start waits for the containers, so that it does not begin without listeners.
const firstLabels = 5 * time.Second

// load asks for the containers before the first configuration is read. A start can do without, and has them later. Who takes
// over must have them: listeners would close that the process before has.
func (l *labelConfig) load() error {
	if l == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), firstLabels)
	defer cancel()
	return l.Load(ctx)
}

// leaveOut reports whether an error is of a listener that labels have made, and that is left out of what is read from now on.
func (l *labelConfig) leaveOut(err error) bool {
	bind := (*l4.BindError)(nil)
	return l != nil && errors.As(err, &bind) && l.Fail(bind.Listener, err)
}

// inForce says that what was read last is in force.
func (l *labelConfig) inForce() {
	if l != nil {
		l.InForce(nil)
	}
}

// texts makes a configuration of files' texts, and of labels where they are a part of it.
func (l *labelConfig) texts(files []configs.SourceText) (*configs.File, error) {
	if l == nil {
		return configs.ParseTexts(files...)
	}
	return l.Beside(files)
}

// Times after which a reload for the sake of labels is tried again: one that is put off by something that soon is over, and one
// that has failed.
const (
	labelsPutOff = time.Second
	labelsFailed = 30 * time.Second
)

// followLabels puts in force what labels say whenever that is something else, until ctx is done.
func (w *world) followLabels(ctx context.Context) {
	again := time.NewTimer(labelsFailed)
	again.Stop()
	for {
		select {
		case <-w.labels.news:
		case <-again.C:
		case <-ctx.Done():
			return
		}
		again.Stop()
		switch err := w.reloadLabels(); {
		case errors.Is(err, errLeaving):
			return
		case errors.Is(err, errUnderWay):
			again.Reset(labelsPutOff)
		case err != nil:
			again.Reset(labelsFailed)
		}
	}
}

// reloadLabels is a reload of labels alone: files that have been changed since are for somebody else to put in force.
func (w *world) reloadLabels() error {
	w.reloading.Lock()
	defer w.reloading.Unlock()
	const by = "docker"
	if signs := w.signs.Load(); signs != nil {
		defer signs.reloading()()
	}
	c, err := w.reloadFrom(w.labels.again, false)
	switch {
	case errors.Is(err, errUnderWay), errors.Is(err, errLeaving):
	case err != nil:
		w.labels.InForce(err)
		w.logReloadFailed(by, err)
	case len(c.Lines()) > 0:
		w.logChange("reloaded", by, &c)
	}
	return err
}
