package main

import (
	"context"
	_ "embed"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sluice/configs"
)

//go:embed demo.yaml
var demoConfig string

const (
	// The last backend of the demo is up and then down for so long: enough to see checks notice, and not to wait for.
	demoUp   = 8 * time.Second
	demoDown = 5 * time.Second
	// demoDrain is how long a browser's idle connections may hold up the end.
	demoDrain = 2 * time.Second
)

func newDemoCommand() *cobra.Command {
	var listen, adminListen string
	c := &cobra.Command{
		Use:   "demo",
		Short: "Run a balancer and three small backends on this machine, to try",
		Long: "Run a balancer and three small backends in one process, on loopback. The backends answer HTTP with\n" +
			"their name and the client address they were told; one of them stops and returns every few seconds.",
		Args: noArguments,
		RunE: func(c *cobra.Command, _ []string) error {
			return runDemo(listen, adminListen, c.OutOrStdout(), c.ErrOrStderr())
		},
	}
	c.Flags().StringVar(&listen, "listen", "127.0.0.1:8080", "accept connections on `ADDRESS`")
	c.Flags().StringVar(&adminListen, "admin", "127.0.0.1:9600", "`ADDRESS` of the read-only API and metrics; \"\" = off")
	return c
}

func runDemo(listen, adminListen string, stdout, stderr io.Writer) error {
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	servers, err := startDemoServers("anna", "bert", "cleo")
	if err != nil {
		return err
	}
	defer servers.close()
	file, err := configs.Parse("demo.yaml", []byte(fillIn(demoConfig, listen, adminListen, servers)))
	if err != nil {
		return usageError{err} // the rest of the file is fine, so it is a flag
	}
	file.Shutdown.Drain = demoDrain
	log, out := newLogger(stderr, file.Log)
	defer out.close()
	w, err := newWorld(file, log, out, bindAdvice{
		listener: "choose another address with --listen ADDRESS",
		admin:    "choose another address with --admin ADDRESS",
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go flap(ctx, servers[len(servers)-1], log)
	if err := printDemo(stdout, w); err != nil {
		w.release()
		return err
	}
	return w.serve(signals, nil)
}

// fillIn replaces the placeholders of the demo's configuration.
func fillIn(text, listen, adminListen string, servers demoServers) string {
	values := map[string]string{"LISTEN": listen, "ADMIN": adminListen}
	for _, s := range servers {
		values[strings.ToUpper(s.name)] = s.address
	}
	return os.Expand(text, func(name string) string {
		if value, ok := values[name]; ok {
			return strconv.Quote(value)
		}
		return "$" + name
	})
}

// printDemo says what there is and what to try.
func printDemo(out io.Writer, w *world) error {
	var text strings.Builder
	text.WriteString("A balancer with three backends runs here until Ctrl-C. In another terminal, try:\n\n")
	fmt.Fprintf(&text, "  curl http://%s/   # several times: who answers, and who it thinks you are\n",
		reachable(w.server.Stats().Listeners[0].Addresses[0].String()))
	if listen := w.now.Load().admin.listen; listen != nil {
		address := reachable(listen.Addr().String())
		fmt.Fprintf(&text, "  curl http://%s/api/v1/status\n", address)
		fmt.Fprintf(&text, "  curl http://%s/metrics\n", address)
	}
	fmt.Fprintf(&text, "\nThe backend cleo stops for %v every %v: the log shows it go down and come up,\n"+
		"and new requests go to the others.\n\n", demoDown, demoUp+demoDown)
	_, err := io.WriteString(out, text.String())
	return err
}

// reachable turns an address to listen on into one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// flap makes a backend go away and come back until ctx is done.
func flap(ctx context.Context, s *demoServer, log *slog.Logger) {
	for sleep(ctx, demoUp) {
		log.Info("demo: a backend stops", "backend", s.name)
		s.close()
		if !sleep(ctx, demoDown) {
			return
		}
		if err := s.start(); err != nil {
			log.Warn("demo: the backend cannot return", "backend", s.name, "error", err)
			continue
		}
		log.Info("demo: the backend is back", "backend", s.name)
	}
}

// sleep waits, and reports whether ctx was not done before.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
