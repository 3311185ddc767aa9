package main

import (
	"cmp"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sluice/cmd/sluice/internal/systemd"
	"sluice/configs"
	"sluice/pool"
)

// runOptions are the flags of run.
type runOptions struct {
	config        []string
	listen        []string
	backends      []string
	admin, socket string // count when the flag was given
	drainTimeout  time.Duration
	takeOver      string
	pidFile       string
	docker        string

	passed passedSockets // not a flag: from the environment
	labels *labelConfig  // of docker; nil = none
}

func newRunCommand() *cobra.Command {
	var o runOptions
	c := &cobra.Command{
		Use:   "run (-c FILE... | --docker[=SOCKET] | --listen ADDRESS... --backend ADDRESS...)",
		Short: "Serve",
		Long: "Serve what a configuration says, or one listener and one pool given by flags. Several files, or a folder of\n" +
			"*.yaml and *.yml, are one configuration. With --docker, labels of containers are a part of it, or all of it:\n" +
			"sluice.listen=:5432 and sluice.pool=app make a listener, and a pool of all containers that say so.\n\n" +
			"SIGTERM and SIGINT end it. For shutdown.delay /readyz says no and connections are still taken; then all\n" +
			"addresses are given up, and the sessions there are go on until they end by themselves or shutdown.drain\n" +
			"is over. One more signal ends the delay, the next cuts the sessions, and one more ends the process.\n\n" +
			"SIGHUP makes it read the configuration again, as `sluice reload` does: what has changed is put in force,\n" +
			"sessions go on, and a configuration that is wrong changes nothing.\n\n" +
			"SIGUSR2 lets a new process take over, with all sessions, as `sluice upgrade` does.",
		Example: "  sluice run -c /etc/sluice/sluice.yaml\n" +
			"  sluice run --listen :8080 --backend 10.0.0.1:80 --backend 10.0.0.2:80\n" +
			"  sluice run --docker",
		Args: func(c *cobra.Command, args []string) error {
			return cmp.Or(strayed(o.docker, args), noArguments(c, args))
		},
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return o.run(c.Flags(), c.ErrOrStderr())
		},
	}
	f := c.Flags()
	configFlag(c, &o.config)
	f.StringArrayVar(&o.listen, "listen", nil, "accept connections on `ADDRESS`, such as :8080; may be repeated")
	f.StringArrayVar(&o.backends, "backend", nil, "send them to the server at `ADDRESS`; may be repeated")
	f.StringVar(&o.admin, "admin", "", "`ADDRESS` of the read-only API and metrics in place of admin.listen; \"\" = off")
	f.StringVar(&o.socket, "socket", "", "`PATH` of the control socket in place of admin.socket; \"\" = off")
	f.DurationVar(&o.drainTimeout, "drain-timeout", 0,
		"cut what is left after `DURATION` of draining, in place of shutdown.drain; 0 = never")
	f.StringVar(&o.takeOver, "take-over", "", "take over all sessions of the sluice with the control socket at `PATH`, which ends then")
	dockerFlag(c, &o.docker)
	f.StringVar(&o.pidFile, "pid-file", "", "write the process id into `FILE` once it serves")
	return c
}

// check finds what is wrong with the flags together.
func (o *runOptions) check() error {
	byFlags := len(o.listen) > 0 || len(o.backends) > 0
	switch {
	case len(o.config) > 0 && byFlags:
		return misused("-c cannot be combined with --listen and --backend: the file has both")
	case o.docker != "" && byFlags:
		return misused("--docker cannot be combined with --listen and --backend: labels say both")
	case len(o.config) == 0 && o.docker == "" && !byFlags:
		return misused("nothing to serve: give -c FILE, or --listen ADDRESS and --backend ADDRESS, or --docker")
	case byFlags && len(o.listen) == 0:
		return misused("no address to listen on: give --listen ADDRESS")
	case byFlags && len(o.backends) == 0:
		return misused("no backend: give --backend ADDRESS")
	case o.admin != "" && !hostPort(o.admin):
		return misused("--admin %q: write HOST:PORT, for example 127.0.0.1:9600", o.admin)
	case o.takeOver != "" && slices.Contains(o.config, "-"):
		return misused("--take-over does not go with -c -: nobody could take over from this process in turn")
	case o.drainTimeout < 0:
		return misused("--drain-timeout %v: must not be negative", o.drainTimeout)
	}
	if o.docker == "" {
		return nil
	}
	socket, err := dockerSocket(o.docker)
	o.docker = socket
	return err
}

// hostPort reports whether text has the form HOST:PORT. Whether there is such a host is for the network to say.
func hostPort(text string) bool {
	_, port, err := net.SplitHostPort(text)
	if err != nil {
		return false
	}
	_, err = strconv.ParseUint(port, 10, 16)
	return err == nil
}

var errStandardInput = errors.New("standard input cannot be read again: give a file with -c FILE")

func (o *runOptions) run(flags *pflag.FlagSet, stderr io.Writer) error {
	// From here on a signal waits until it can be dealt with; none kills the process half-way, not even at its very end.
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR2)
	// A log collector that goes away must not take the sessions with it.
	signal.Ignore(syscall.SIGPIPE)

	how := thisLaunch() // before the program can be replaced
	var err error
	if o.passed, err = systemd.Sockets(); err != nil {
		return err
	}
	if o.docker != "" {
		o.labels = newLabelConfig(o.docker)
		o.labels.again = func() (*configs.File, error) { return o.overridden(flags, o.labels.Again) }
		o.labels.peek = func() (*configs.File, error) {
			return o.overridden(flags, func() (*configs.File, error) { return o.loadLabels(o.labels.Beside) })
		}
	}
	file, from, err := o.begin(flags)
	if err != nil {
		return err
	}
	log, out := newLogger(stderr, file.Log)
	defer out.close()
	slog.SetDefault(log) // for libraries that log by themselves
	logWarnings(log, file.Warnings)
	if o.takeOver != "" && from == nil {
		log.Warn("upgrade: the process before has ended, and has handed nothing over: this one starts anew")
	}
	w, err := o.newWorld(flags, file, log, out, bindAdvice{
		admin:  `choose another address with admin.listen or --admin ADDRESS ("" = none)`,
		socket: `choose another path with admin.socket or --socket PATH ("" = none)`,

		socketOptional: !flags.Changed("socket"),

		passed: o.passed, from: from,
	})
	if err != nil {
		if from != nil {
			from.fail(err)
		}
		return err
	}
	how.once = slices.Contains(o.config, "-")
	w.launch, w.pidFile.path = &how, o.pidFile
	switch {
	case slices.Contains(o.config, "-"):
		w.read = func() (*configs.File, error) { return nil, errStandardInput }
	case len(o.config) > 0 || o.labels != nil:
		w.read = func() (*configs.File, error) { return o.read(flags) }
	}
	return w.serve(signals, serviceManager(log))
}

// newWorld makes the world. Listeners of labels whose address cannot be had are left out, as they are later.
func (o *runOptions) newWorld(flags *pflag.FlagSet, file *configs.File, log *slog.Logger, out *logWriter, advice bindAdvice) (*world, error) {
	advice.labels = o.labels
	for {
		w, err := newWorld(file, log, out, advice)
		switch {
		case err == nil:
			o.labels.inForce()
			return w, nil
		case advice.from != nil || !o.labels.leaveOut(err):
			return nil, err
		}
		if file, err = o.read(flags); err != nil {
			return nil, err
		}
	}
}

// begin reads the configuration, and asks for what the process before has if there is one. That one learns what is wrong.
func (o *runOptions) begin(flags *pflag.FlagSet) (*configs.File, *takeOver, error) {
	if o.pidFile != "" { // this process stays in its folder, but says where the file is in full
		path, err := filepath.Abs(o.pidFile)
		if err != nil {
			return nil, nil, err
		}
		o.pidFile = path
	}
	if o.takeOver == "" {
		_ = o.labels.load() // who follows them says what is wrong
		file, err := o.read(flags)
		return file, nil, err
	}
	from, err := connectTo(o.takeOver)
	if err != nil {
		return nil, nil, err
	}
	if err := o.labels.load(); err != nil {
		from.fail(err)
		return nil, nil, err
	}
	file, err := o.read(flags)
	if err != nil {
		from.fail(err)
		return nil, nil, err
	}
	if err := from.take(); err != nil {
		if from.died(err) { // with all that it had: nobody else is left to serve
			from.close()
			return file, nil, nil
		}
		from.fail(err)
		return nil, nil, err
	}
	_, o.passed = from.sockets()
	o.passed.giveTo(file)
	return file, from, nil
}

// serviceManager returns who is to be told how the process fares; nil for nobody. What is wrong with that is no reason
// not to serve.
func serviceManager(log *slog.Logger) *systemd.Notifier {
	n, err := systemd.NewNotifier()
	if err != nil {
		log.Warn("the service manager is not told", "error", err)
	}
	return n
}

// logWarnings says what check warns of: who starts without it is to know as well.
func logWarnings(log *slog.Logger, warnings configs.Problems) {
	for _, w := range warnings {
		log.Warn("the configuration has something that is hardly meant", "file", w.File, "line", w.Line, "warning", w.Message)
	}
}

// read returns the configuration that the flags say, or name.
func (o *runOptions) read(flags *pflag.FlagSet) (*configs.File, error) {
	return o.overridden(flags, o.load)
}

// overridden returns what load does, with the flags that win over it.
func (o *runOptions) overridden(flags *pflag.FlagSet, load func() (*configs.File, error)) (*configs.File, error) {
	file, err := load()
	if err != nil {
		return nil, err
	}
	return file, o.override(file, flags)
}

func (o *runOptions) load() (*configs.File, error) {
	if o.labels != nil {
		return o.loadLabels(o.labels.Read)
	}
	if len(o.config) > 0 {
		return configs.Load(o.config...)
	}
	file, err := configs.Simple(o.listen, o.backends)
	if problems := configs.Problems(nil); errors.As(err, &problems) && !slices.ContainsFunc(problems, unresolved) {
		return nil, usageError{err}
	}
	return file, err
}

// loadLabels reads the files there are, and what containers say by now.
func (o *runOptions) loadLabels(read func([]configs.SourceText) (*configs.File, error)) (*configs.File, error) {
	var files []configs.SourceText
	if len(o.config) > 0 {
		var err error
		if files, err = configs.ReadTexts(o.config...); err != nil {
			return nil, err
		}
	}
	return read(files)
}

// unresolved reports whether a problem is of the network, not of the one who wrote the flag.
func unresolved(p configs.Problem) bool { return strings.Contains(p.Message, "does not resolve") }

// override puts the flags that were given in place of what the file says.
func (o *runOptions) override(file *configs.File, flags *pflag.FlagSet) error {
	o.passed.giveTo(file)
	if flags.Changed("drain-timeout") {
		file.Shutdown.Drain = o.drainTimeout
	}
	if flags.Changed("admin") {
		file.Admin.Listen = o.admin
	}
	if !flags.Changed("socket") {
		return nil
	}
	file.Admin.Socket = ""
	if o.socket == "" {
		return nil
	}
	path, err := filepath.Abs(o.socket)
	if err != nil {
		return err
	}
	if len(path) > pool.MaxUnixPath {
		return misused("--socket %q: the path has %d bytes, and the kernel takes at most %d", o.socket, len(path),
			pool.MaxUnixPath)
	}
	file.Admin.Socket = path
	return nil
}
