package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"

	"sluice/cmd/sluice/internal/admin"
)

// A process is a sluice that runs.
type process struct {
	command *exec.Cmd
	log     string        // path of its output
	socket  string        // path of its control socket
	ended   chan struct{} // closed when it has
	status  admin.Status  // as it was when it was ready
}

func processOf(ts *testscript.TestScript, name string) *process {
	p := worldOf(ts).processes[name]
	if p == nil {
		ts.Fatalf("no process %s", name)
	}
	return p
}

// cmdStart starts sluice and waits until it is ready. It sets variables from what the process says of itself:
// NAME_admin, NAME_socket, and NAME_LISTENER for the first address of each listener.
func cmdStart(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "start NAME run ARGUMENT...")
	name := args[0]
	p := &process{
		log: ts.MkAbs(name + ".log"), socket: ts.MkAbs(name + ".sock"), ended: make(chan struct{}),
	}
	p.run(ts, sluiceCommand(ts, append(args[1:], "--admin", "127.0.0.1:0", "--socket", p.socket)...))
	worldOf(ts).processes[name] = p
	eventually(ts, func() (err error) {
		select {
		case <-p.ended:
			ts.Fatalf("%s has ended:\n%s", name, ts.ReadFile(p.log))
		default:
		}
		p.status, _, err = admin.FetchStatus(context.Background(), p.socket)
		return err
	})
	ts.Setenv(name+"_admin", p.status.Admin.Listen)
	ts.Setenv(name+"_metrics", p.status.Admin.Metrics)
	ts.Setenv(name+"_socket", p.socket)
	for _, l := range p.status.Listeners {
		ts.Setenv(name+"_"+l.Name, l.Addresses[0].String())
	}
}

// cmdDemo starts sluice demo on free ports and sets the variables NAME_demo and NAME_admin to its addresses. What it
// has printed is for stdout.
func cmdDemo(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 1, "demo NAME")
	name := args[0]
	p := &process{log: ts.MkAbs(name + ".log"), socket: ts.MkAbs(name + ".sock"), ended: make(chan struct{})}
	p.run(ts, sluiceCommand(ts, "demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"))
	worldOf(ts).processes[name] = p
	addresses := regexp.MustCompile(`addresses=(\S+)(?s:.*)msg=ready .*admin=(\S+)`)
	cmdLogged(ts, false, []string{name, "msg=ready .*admin="})
	text := ts.ReadFile(p.log)
	match := addresses.FindStringSubmatch(text)
	if match == nil {
		ts.Fatalf("no addresses in the log:\n%s", text)
	}
	p.status.Admin.Listen = match[2]
	ts.Setenv(name+"_demo", match[1])
	ts.Setenv(name+"_admin", match[2])
	_, err := io.WriteString(ts.Stdout(), text)
	ts.Check(err)
}

// cmdStartPlain starts sluice as a user who may write nowhere, with these arguments only, and waits until its log says
// that it is ready.
func cmdStartPlain(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "startplain NAME run ARGUMENT...")
	name := args[0]
	p := &process{log: ts.MkAbs(name + ".log"), socket: ts.MkAbs(name + ".sock"), ended: make(chan struct{})}
	p.run(ts, asNobody(ts, sluiceCommand(ts, args[1:]...)))
	worldOf(ts).processes[name] = p
	cmdLogged(ts, false, []string{name, "msg=ready "})
}

// cmdBackground starts another command of sluice, which logged and exited look at.
func cmdBackground(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 2, "background NAME COMMAND ARGUMENT...")
	name := args[0]
	p := &process{log: ts.MkAbs(name + ".log"), socket: ts.MkAbs(name + ".sock"), ended: make(chan struct{})}
	p.run(ts, sluiceCommand(ts, args[1:]...))
	worldOf(ts).processes[name] = p
}

// sluiceCommand returns the command that runs sluice with args.
func sluiceCommand(ts *testscript.TestScript, args ...string) []string {
	program, err := exec.LookPath("sluice") // testscript has put it into PATH
	ts.Check(err)
	return append([]string{program}, args...)
}

// run starts the process. It is killed at the end of the script if it is still there.
func (p *process) run(ts *testscript.TestScript, command []string) {
	out, err := os.Create(p.log)
	ts.Check(err)
	p.command = exec.Command(command[0], command[1:]...)
	p.command.Dir = ts.MkAbs(".")
	p.command.Stdout, p.command.Stderr = out, out
	ts.Check(p.command.Start())
	ts.Defer(func() {
		_ = p.command.Process.Kill() // it has ended, mostly
		<-p.ended
		_ = out.Close()
	})
	go func() {
		_ = p.command.Wait() // exited looks at the state
		close(p.ended)
	}()
}

var signals = map[string]syscall.Signal{
	"TERM": syscall.SIGTERM, "INT": syscall.SIGINT, "HUP": syscall.SIGHUP, "USR2": syscall.SIGUSR2,
}

func cmdSignal(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "signal NAME TERM|INT|HUP|USR2")
	ts.Check(processOf(ts, args[0]).command.Process.Signal(signals[args[1]]))
}

// cmdExited waits for the end of a process and checks its exit status.
func cmdExited(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "exited NAME STATUS")
	p := processOf(ts, args[0])
	eventually(ts, func() error {
		select {
		case <-p.ended:
			return nil
		default:
			return fmt.Errorf("%s still runs", args[0])
		}
	})
	if got := fmt.Sprint(p.command.ProcessState.ExitCode()); got != args[1] {
		ts.Fatalf("%s has exit status %s, want %s:\n%s", args[0], got, args[1], ts.ReadFile(p.log))
	}
	if _, err := os.Lstat(p.socket); !errors.Is(err, os.ErrNotExist) {
		ts.Fatalf("%s has left its socket behind: %v", args[0], err)
	}
}

// cmdLogged waits until a process has logged something; with "!" it checks that it has not, so far.
func cmdLogged(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, len(args) == 2, "[!] logged NAME REGEXP")
	pattern, err := regexp.Compile("(?m)" + args[1])
	ts.Check(err)
	p := processOf(ts, args[0])
	if neg {
		if text := ts.ReadFile(p.log); pattern.MatchString(text) {
			ts.Fatalf("%s has logged %q:\n%s", args[0], args[1], text)
		}
		return
	}
	eventually(ts, func() error {
		if text := ts.ReadFile(p.log); !pattern.MatchString(text) {
			return fmt.Errorf("%s has not logged %q:\n%s", args[0], args[1], text)
		}
		return nil
	})
}

// cmdGet asks the admin API, by TCP or by socket, or any other HTTP server at an address, until the status is right and
// the body matches.
func cmdGet(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 3, "get NAME tcp|socket|ADDRESS PATH STATUS [REGEXP]...")
	p := processOf(ts, args[0])
	var patterns []*regexp.Regexp
	for _, text := range args[4:] {
		pattern, err := regexp.Compile("(?m)" + text)
		ts.Check(err)
		patterns = append(patterns, pattern)
	}
	eventually(ts, func() error {
		status, body, err := p.get(args[1], args[2])
		if err != nil {
			return err
		}
		missing := slices.ContainsFunc(patterns, func(r *regexp.Regexp) bool { return !r.MatchString(body) })
		if fmt.Sprint(status) != args[3] || missing {
			return fmt.Errorf("GET %s: %d %s\nwant %v", args[2], status, body, args[3:])
		}
		_, err = io.WriteString(ts.Stdout(), body)
		return err
	})
}

// cmdCall makes one request to the control socket. BODY is JSON, - is none.
func cmdCall(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 5, "call NAME METHOD PATH BODY STATUS [REGEXP]...")
	status, body, err := processOf(ts, args[0]).request("socket", args[1], args[2], strings.TrimPrefix(args[3], "-"))
	ts.Check(err)
	if fmt.Sprint(status) != args[4] {
		ts.Fatalf("%s %s: %d %s\nwant %s", args[1], args[2], status, body, args[4])
	}
	for _, pattern := range args[5:] {
		if !regexp.MustCompile("(?m)" + pattern).MatchString(body) {
			ts.Fatalf("%s %s: %s\nwant %s", args[1], args[2], body, pattern)
		}
	}
}

func (p *process) get(side, path string) (status int, body string, err error) {
	return p.request(side, http.MethodGet, path, "")
}

func (p *process) request(side, method, path, body string) (status int, text string, err error) {
	network, address := "tcp", side
	switch side {
	case "tcp":
		address = p.status.Admin.Listen
	case "socket":
		network, address = "unix", p.socket
	}
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		},
		DisableKeepAlives: true,
	}
	client := http.Client{Transport: transport, Timeout: patience}
	request, err := http.NewRequest(method, "http://127.0.0.1"+path, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(all), err
}

// cmdMetricNames writes the name, the type and the labels of sluice's own metrics to a file.
func cmdMetricNames(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) == 2, "metricnames NAME FILE")
	_, body, err := processOf(ts, args[0]).get("tcp", "/metrics")
	ts.Check(err)
	var names []string
	var kind string
	labelName := regexp.MustCompile(`([a-z]+)="(?:[^"\\]|\\.)*"`)
	for line := range strings.Lines(body) {
		if header, ok := strings.CutPrefix(line, "# TYPE sluice_"); ok {
			_, kind, _ = strings.Cut(strings.TrimSpace(header), " ")
		}
		if !strings.HasPrefix(line, "sluice_") {
			continue
		}
		series := line[:strings.LastIndexByte(line, ' ')]
		names = append(names, labelName.ReplaceAllString(series, "$1")+" "+kind)
	}
	slices.Sort(names)
	text := strings.Join(slices.Compact(names), "\n") + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(text), 0o600))
}

// cmdAsk runs sluice status for a process, with its output for stdout and cmp.
func cmdAsk(ts *testscript.TestScript, neg bool, args []string) {
	usage(ts, !neg && len(args) >= 1, "ask NAME ARGUMENT...")
	command := append([]string{"status", "--socket", processOf(ts, args[0]).socket}, args[1:]...)
	if err := ts.Exec("sluice", command...); err != nil {
		ts.Fatalf("sluice %s: %v", strings.Join(command, " "), err)
	}
}
