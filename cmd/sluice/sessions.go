package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sluice/cmd/sluice/internal/admin"
)

const (
	sessionsPath = "/api/v1/sessions"
	// watchInterval is how often a list that is watched is shown anew.
	watchInterval = time.Second
)

// sessionFilters are the flags that choose sessions, by their parameter in the API.
type sessionFilters map[string]*string

func (f *sessionFilters) flags(c *cobra.Command) {
	*f = sessionFilters{}
	add := func(name, usage string) { (*f)[name] = c.Flags().String(name, "", usage) }
	add("listener", "only those of the listener `NAME`")
	add("pool", "only those of the pool `NAME`")
	add("backend", "only those on the backend `NAME`")
	add("client", "only those of an `ADDRESS`, or of a network such as 192.0.2.0/24")
	add("state", "only those in a `STATE` such as relaying")
	add("idle", "only those in which no byte has moved for `DURATION`, such as 30s")
	add("older", "only those accepted longer ago than `DURATION`, such as 10m")
}

// query returns the parameters of the flags that were given.
func (f sessionFilters) query(c *cobra.Command) (url.Values, error) {
	query := url.Values{}
	for name, value := range f {
		if !c.Flags().Changed(name) {
			continue
		}
		if *value == "" {
			return nil, misused("--%s: want a value", name)
		}
		query.Set(name, *value)
	}
	return query, nil
}

// sessionsOptions are the flags of sessions.
type sessionsOptions struct {
	asker
	filters       sessionFilters
	limit         int
	asJSON, watch bool
}

func newSessionsCommand() *cobra.Command {
	var o sessionsOptions
	c := &cobra.Command{
		Use:   "sessions",
		Short: "List the open sessions of a running sluice",
		Long: "List the open sessions of a running sluice, the oldest first.\n\n" +
			"AGE is since the connection was accepted, IDLE since a byte last moved. RECEIVED and SENT are bytes from and\n" +
			"to the backend.",
		Example: "  sluice sessions --pool web --idle 30s\n  sluice sessions --client 192.0.2.0/24 --watch",
		Args:    noArguments,
		RunE:    func(c *cobra.Command, _ []string) error { return o.run(c) },
	}
	o.filters.flags(c)
	o.flag(c)
	c.Flags().IntVar(&o.limit, "limit", 0, "list `N` at most, whichever they are; 0 = all")
	c.Flags().BoolVar(&o.asJSON, "json", false, "print the answer of the API as it is, in no order")
	c.Flags().BoolVar(&o.watch, "watch", false, "list them again each second")
	return c
}

func (o *sessionsOptions) run(c *cobra.Command) error {
	query, err := o.filters.query(c)
	if err != nil {
		return err
	}
	if c.Flags().Changed("limit") && o.limit < 0 {
		return misused("--limit %d: must not be negative", o.limit)
	}
	if o.limit > 0 {
		query.Set("limit", strconv.Itoa(o.limit))
	}
	out := c.OutOrStdout()
	list := func() error { return o.list(out, query) }
	if !o.watch {
		return list()
	}
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for ; ; <-tick.C {
		if err := list(); err != nil {
			return err
		}
	}
}

func (o *sessionsOptions) list(out io.Writer, query url.Values) error {
	body, err := o.open(admin.Request{Method: http.MethodGet, Path: sessionsPath, Query: query})
	if err != nil {
		return err
	}
	defer body.Close()
	if o.asJSON {
		_, err = io.Copy(out, body)
		return err
	}
	var answer admin.Sessions
	if err := json.NewDecoder(body).Decode(&answer); err != nil {
		return fmt.Errorf("read answer of %s: %w", o.socket, err)
	}
	text := sessionsText(&answer)
	if o.watch {
		text = watchText(out, text)
	}
	_, err = io.WriteString(out, text)
	return err
}

// watchText puts what is shown again and again in the place of what was there before, on a terminal.
func watchText(out io.Writer, text string) string {
	if isTerminal(out) {
		return "\x1b[H\x1b[2J" + text // to the corner, and clear what is there: ECMA-48
	}
	return text + "\n"
}

func isTerminal(out io.Writer) bool {
	f, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func sessionsText(answer *admin.Sessions) string {
	slices.SortFunc(answer.Sessions, func(a, b admin.SessionStatus) int {
		return cmp.Or(cmp.Compare(b.Age, a.Age), cmp.Compare(a.ID, b.ID))
	})
	t := newTable("ID>", "LISTENER", "POOL", "BACKEND", "CLIENT", "STATE", "AGE>", "IDLE>", "RECEIVED>", "SENT>", "NAME")
	for _, s := range answer.Sessions {
		t.row(s.ID, s.Listener, s.Pool, s.Backend, s.Client, s.State, secondsText(s.Age), secondsText(s.Idle),
			byteText(s.Received), byteText(s.Sent), s.ServerName)
	}
	var b strings.Builder
	t.print(&b)
	more := ""
	if !answer.Complete {
		more = ", and there are more"
	}
	fmt.Fprintf(&b, "%s%s\n", plural(len(answer.Sessions), "session"), more)
	return b.String()
}

// secondsText writes a time that has passed, as exactly as somebody reads it.
func secondsText(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < 48*time.Hour:
		return d.Round(time.Second).String()
	}
	return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
}
