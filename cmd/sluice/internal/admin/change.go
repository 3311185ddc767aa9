package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os/user"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sluice/configs"
	"sluice/sysutil"
)

const (
	// maxBody bounds what a request may bring: some files of a configuration, of 1 MiB each at most.
	maxBody = 16 << 20
	// answerTime is how long the answer may take to be sent once it is there.
	answerTime = 30 * time.Second
)

// carryOut does what a request asks for that changes something, one after the other. The process takes the time for it
// that it needs: a list of networks may come from a server of files that is slow.
func (s *Server) carryOut(w http.ResponseWriter, r *http.Request, e *endpoint) {
	a, err := s.understand(w, r, e)
	if err != nil {
		s.writeError(w, err)
		return
	}
	deadlines := http.NewResponseController(w)
	_ = deadlines.SetReadDeadline(time.Time{}) // whether the client leaves is read for as long as it takes
	_ = deadlines.SetWriteDeadline(time.Time{})
	if e.last {
		r.Context().Value(connKey{}).(*conn).answersLast()
	}
	if !e.aside {
		select {
		case s.changing <- struct{}{}:
			defer func() { <-s.changing }()
		case <-r.Context().Done():
			return
		}
	}
	answer, err := e.change(s, r.Context(), a)
	_ = deadlines.SetWriteDeadline(time.Now().Add(answerTime))
	if err != nil {
		s.writeError(w, err)
		return
	}
	s.writeJSON(w, max(e.done, http.StatusOK), answer)
}

var errBody = Invalidf("there is to be no body")

// understand reads all of a request.
func (s *Server) understand(w http.ResponseWriter, r *http.Request, e *endpoint) (a asked, err error) {
	if a.query, err = e.checkQuery(r.URL.RawQuery); err != nil {
		return a, err
	}
	if a.by.DryRun, err = flagOf(a.query, dryRun.name); err != nil {
		return a, err
	}
	a.conn = r.Context().Value(connKey{}).(*conn)
	a.by.User = userOf(a.conn)
	a.pool, a.backend = r.PathValue("pool"), r.PathValue("backend")
	text, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) {
		return a, Invalidf("the body has more than %d MiB", maxBody>>20)
	}
	if err != nil {
		return a, Invalidf("read body: %w", err)
	}
	if e.body != nil {
		a.body = reflect.New(reflect.TypeOf(e.body).Elem()).Interface()
		err = decodeBody(text, a.body)
	} else if len(text) > 0 {
		err = errBody
	}
	return a, err
}

// decodeBody reads a JSON object. Nothing that it has may be unknown; no body at all is an empty object.
func decodeBody(text []byte, into any) error {
	if len(text) == 0 {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err != nil {
		cause := strings.TrimPrefix(err.Error(), "json: ")
		if key, unknown := strings.CutPrefix(cause, "unknown field "); unknown {
			return Invalidf("body: unknown key %s: want %s", key, strings.Join(keysOf(reflect.TypeOf(into).Elem()), ", "))
		}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) {
			return Invalidf("body: %swant %s, not %s", prefixed(wrong.Field), kindText(wrong.Type), wrong.Value)
		}
		return Invalidf("body: %s", cause)
	}
	if _, err := d.Token(); err != io.EOF {
		return Invalidf("body: there is something after the object")
	}
	return nil
}

func prefixed(field string) string {
	if field == "" {
		return ""
	}
	return field + ": "
}

// kindText says what JSON has for a type.
func kindText(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Struct:
		return "an object"
	case reflect.Slice:
		return "a list"
	case reflect.Bool:
		return "true or false"
	}
	return "text"
}

// userOf returns the name of who is at the other end of the control socket; "" = not known.
func userOf(c *conn) string {
	uid, err := uidOf(c)
	if err != nil {
		return ""
	}
	id := strconv.FormatUint(uint64(uid), 10)
	if known, err := user.LookupId(id); err == nil {
		return known.Username
	}
	return "uid " + id
}

// uidOf returns the number of who is at the other end of the control socket.
func uidOf(c *conn) (uid uint32, err error) {
	raw, err := c.Conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return 0, err
	}
	if caught := raw.Control(func(fd uintptr) { uid, err = sysutil.PeerUser(int(fd)) }); caught != nil {
		return 0, caught
	}
	return uid, err
}

// A Failure is the answer of a request that was not carried out.
type Failure struct {
	Error    string           `json:"error"`
	Problems configs.Problems `json:"problems,omitempty"` // all that is wrong with a configuration
}

func (s *Server) writeError(w http.ResponseWriter, err error) {
	failure := Failure{Error: err.Error()}
	errors.As(err, &failure.Problems)
	if n := len(failure.Problems); n > 0 {
		failure.Error = "the configuration is wrong: " + failure.Problems[0].String()
		if n > 1 {
			failure.Error += fmt.Sprintf(" (and %d more)", n-1)
		}
	}
	s.writeJSON(w, statusOf(err), failure)
}

// statusOf returns the status that says what kind of error it is.
func statusOf(err error) int {
	switch {
	case errors.As(err, new(configs.Problems)), errors.As(err, new(wrongConfig)):
		return http.StatusUnprocessableEntity
	case errors.As(err, new(Invalid)):
		return http.StatusBadRequest
	case errors.As(err, new(NotFound)):
		return http.StatusNotFound
	case errors.As(err, new(Conflict)):
		return http.StatusConflict
	case errors.As(err, new(forbidden)):
		return http.StatusForbidden
	case errors.Is(err, errUpgradeRequired):
		return http.StatusUpgradeRequired
	}
	return http.StatusInternalServerError
}

// A reloadBody has the files that are looked at in place of the configuration.
type reloadBody struct {
	Files []configs.SourceText `json:"files,omitempty"` // only of a dry run
}

func (s *Server) reload(ctx context.Context, a asked) (any, error) {
	files := a.body.(*reloadBody).Files
	if len(files) > 0 && !a.by.DryRun {
		return nil, Invalidf("files are for dry_run=true only: what is put in force is what sluice reads itself")
	}
	return s.options.Control.Reload(ctx, Reload{By: a.by, Files: files})
}

// A setting is a value that may be written as text, number or boolean.
type setting string

func (v *setting) UnmarshalJSON(text []byte) error {
	switch text[0] {
	case '"':
		return json.Unmarshal(text, (*string)(v))
	case '{', '[', 'n':
		return fmt.Errorf("%.64s: want text, a number, true or false", text)
	}
	*v = setting(text)
	return nil
}

// An overridesBody is what can be set of a backend.
type overridesBody struct {
	State    *setting `json:"state,omitempty"`     // ready, drain or maint
	Weight   *setting `json:"weight,omitempty"`    // share of new sessions
	MaxConns *setting `json:"max_conns,omitempty"` // 0 = no limit
}

func (b *overridesBody) set() map[string]string {
	set := make(map[string]string)
	for key, value := range map[string]*setting{"state": b.State, "weight": b.Weight, "max_conns": b.MaxConns} {
		if value != nil {
			set[key] = string(*value)
		}
	}
	return set
}

func (s *Server) override(ctx context.Context, a asked) (any, error) {
	return s.options.Control.Override(ctx, a.pool, a.backend, a.body.(*overridesBody).set(), a.by)
}

func (s *Server) unset(ctx context.Context, a asked) (any, error) {
	return s.options.Control.Unset(ctx, a.pool, a.backend, a.query["key"], a.by)
}

// A backendBody is a backend that is to be added.
type backendBody struct {
	Address string `json:"address"`        // HOST:PORT, [IPV6]:PORT or unix:/PATH
	Name    string `json:"name,omitempty"` // its address when there is none
	overridesBody
	Backup *setting `json:"backup,omitempty"`
}

func (s *Server) addBackend(ctx context.Context, a asked) (any, error) {
	b := a.body.(*backendBody)
	if b.Address == "" {
		return nil, Invalidf("body: address is missing: want HOST:PORT, [IPV6]:PORT or unix:/PATH")
	}
	set := b.set()
	if b.Backup != nil {
		set["backup"] = string(*b.Backup)
	}
	return s.options.Control.AddBackend(ctx, a.pool, NewBackend{Address: b.Address, Name: b.Name, Set: set}, a.by)
}

func (s *Server) removeBackend(ctx context.Context, a asked) (any, error) {
	return s.options.Control.RemoveBackend(ctx, a.pool, a.backend, a.by)
}

func (s *Server) rebalance(ctx context.Context, a asked) (any, error) {
	return s.options.Control.Rebalance(ctx, a.pool, a.by)
}
