package docker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The versions of the API that are known. Engines say the newest that they speak, and refuse what is newer.
var (
	oldestVersion = version{1, 24} // Docker 1.12, of 2016
	newestVersion = version{1, 52} // Docker 29, of 2025
)

// answerTime is how long the engine may take for an answer that does not go on for ever.
const answerTime = 10 * time.Second

// maxAnswer is how long an answer may be, in bytes. A container takes about two thousand.
const maxAnswer = 64 << 20

// A client asks one engine. It keeps a connection or two.
type client struct {
	socket string
	http   http.Client
	speaks version // what both speak; zero = not asked yet

	created map[string]time.Time // of containers that were made in one second with others, by id
}

func newClient(socket string) *client {
	network, address := "unix", strings.TrimPrefix(socket, "unix:")
	if remote, ok := strings.CutPrefix(socket, "tcp://"); ok {
		network, address = "tcp", remote
	}
	dialer := net.Dialer{Timeout: answerTime}
	return &client{socket: socket, http: http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, network, address)
		},
		ResponseHeaderTimeout: answerTime,
		DisableCompression:    true,
		IdleConnTimeout:       2 * relist,
	}}}
}

// hostOf returns the host of "HOST:PORT".
func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	return host
}

func (c *client) close() { c.http.CloseIdleConnections() }

// negotiate finds out which version of the API is spoken: the newest that both know. An engine that has given up all that
// are known is asked in its oldest one.
func (c *client) negotiate(ctx context.Context) error {
	r, err := c.get(ctx, "/_ping", nil)
	if err != nil {
		return err
	}
	r.Body.Close()
	newest, err := parseVersion(r.Header.Get("Api-Version"))
	if err != nil {
		return fmt.Errorf("ask for the version of its API: %w", err)
	}
	if newest.less(oldestVersion) {
		return fmt.Errorf("it speaks version %v of its API: %v is the oldest that will do", newest, oldestVersion)
	}
	c.speaks = newest
	if newestVersion.less(newest) {
		c.speaks, err = c.oldestSpoken(ctx)
	}
	return err
}

// oldestSpoken returns the newest version that is known, unless the engine's oldest one is newer.
func (c *client) oldestSpoken(ctx context.Context) (version, error) {
	var said struct{ MinAPIVersion string }
	if err := c.read(ctx, "/version", nil, &said); err != nil {
		return version{}, err
	}
	oldest, err := parseVersion(said.MinAPIVersion)
	if err != nil || oldest.less(newestVersion) {
		oldest = newestVersion
	}
	return oldest, nil
}

// list returns all containers that run or are paused, the oldest first.
func (c *client) list(ctx context.Context) ([]Container, error) {
	all, err := c.listOnce(ctx)
	if err == nil {
		c.date(ctx, all)
	}
	return all, err
}

// date finds out when containers were made that have a second in common: the list has no more. Who is the older one of two
// that contradict each other depends on it. What cannot be found out stays as it is.
func (c *client) date(ctx context.Context, all []Container) {
	inSecond := make(map[time.Time]int)
	for i := range all {
		if len(all[i].Labels) > 0 {
			inSecond[all[i].Created]++
		}
	}
	known := make(map[string]time.Time)
	for i := range all {
		one := &all[i]
		if len(one.Labels) == 0 || inSecond[one.Created] == 1 {
			continue
		}
		exact, had := c.created[one.ID]
		if !had {
			d, err := c.inspect(ctx, one.ID)
			if err != nil || !d.Created.Truncate(time.Second).Equal(one.Created) {
				continue
			}
			exact = d.Created
		}
		one.Created, known[one.ID] = exact, exact
	}
	c.created = known
	slices.SortFunc(all, Older)
}

func (c *client) listOnce(ctx context.Context) ([]Container, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := c.get(ctx, c.speaks.path("/containers/json"), nil)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	data, err := io.ReadAll(io.LimitReader(r.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("list containers: %w", err)
	}
	all, err := parseContainers(data)
	if err != nil {
		return nil, fmt.Errorf("read list of containers: %w", err)
	}
	return all, nil
}

// details is what is asked about one container.
type details struct {
	Created time.Time
	State   struct{ StartedAt time.Time }
	Config  struct{ StopSignal string }
}

func (c *client) inspect(ctx context.Context, id string) (d details, err error) {
	err = c.read(ctx, c.speaks.path("/containers/"+url.PathEscape(id)+"/json"), nil, &d)
	return d, err
}

// events returns the stream of what happens, beginning with what the engine still knows of the time since.
func (c *client) events(ctx context.Context, since time.Time) (io.ReadCloser, error) {
	filters, err := json.Marshal(wantedEvents)
	if err != nil {
		return nil, err
	}
	r, err := c.get(ctx, c.speaks.path("/events"), url.Values{
		"since":   {fmt.Sprintf("%d.%09d", since.Unix(), since.Nanosecond())},
		"filters": {string(filters)},
	})
	if err != nil {
		return nil, err
	}
	return r.Body, nil
}

// read gets a short answer.
func (c *client) read(ctx context.Context, path string, query url.Values, into any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTime)
	defer cancel()
	r, err := c.get(ctx, path, query)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if err := json.NewDecoder(io.LimitReader(r.Body, maxAnswer)).Decode(into); err != nil {
		return fmt.Errorf("read answer to GET %s: %w", path, err)
	}
	return nil
}

// get asks for something. An answer that is none is an error.
func (c *client) get(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	target := url.URL{Scheme: "http", Host: "docker", Path: path, RawQuery: query.Encode()}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	r, err := c.http.Do(request)
	if err != nil {
		return nil, dialError(err)
	}
	if r.StatusCode == http.StatusOK {
		return r, nil
	}
	defer r.Body.Close()
	return nil, fmt.Errorf("GET %s: %s%s", path, r.Status, complaint(r.Body))
}

// complaint returns what an engine says about a request that it does not answer.
func complaint(r io.Reader) string {
	data, _ := io.ReadAll(io.LimitReader(r, 1<<10)) // what there is will do
	var said struct{ Message string }
	if err := json.Unmarshal(data, &said); err != nil {
		said.Message = string(data)
	}
	if said.Message = strings.TrimSpace(said.Message); said.Message == "" {
		return ""
	}
	return ": " + said.Message
}

// dialError drops from an error what is the same in all of them, the URL, and says what to do about a socket that is not for
// this user.
func dialError(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w: the user that sluice runs as must be in the socket's group", err)
	}
	return err
}

// version is one of the API.
type version struct{ major, minor int }

func parseVersion(text string) (v version, err error) {
	major, minor, _ := strings.Cut(text, ".")
	if v.major, err = strconv.Atoi(major); err == nil {
		v.minor, err = strconv.Atoi(minor)
	}
	if err != nil || v.major < 0 || v.minor < 0 {
		return version{}, fmt.Errorf("%q is no version", text)
	}
	return v, nil
}

func (v version) less(w version) bool {
	return v.major < w.major || v.major == w.major && v.minor < w.minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// path returns the path of a request in this version of the API.
func (v version) path(p string) string { return "/v" + v.String() + p }
