package admin

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

const (
	upgradePath  = "/api/v1/upgrade"
	takeOverPath = upgradePath + "/takeover"
	// handoffProtocol is what is spoken on the connection after 101, see package sysutil/handoff.
	handoffProtocol = "sluice-handoff"
)

// switching is the whole answer to who may take over. Nothing follows before the other side has spoken.
const switching = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + handoffProtocol + "\r\n\r\n"

// errUpgradeRequired is the error of who does not say what is to be spoken.
var errUpgradeRequired = errors.New("this is for a sluice that takes over: want the header Upgrade: " + handoffProtocol)

// An upgradeBody says what is to take over.
type upgradeBody struct {
	Binary     string `json:"binary,omitempty"`      // its path; not given: the one that this process was started from
	IfReplaced bool   `json:"if_replaced,omitempty"` // only if that is another file by now than the one that runs
}

func (s *Server) upgrade(ctx context.Context, a asked) (any, error) {
	to, ok := s.options.Control.(Successor)
	if !ok {
		return nil, NotFoundf("nothing can take over from this process")
	}
	body := a.body.(*upgradeBody)
	if body.Binary != "" { // it would run as the user that sluice runs as, with all that sluice has
		if err := mightBeSluice(a.conn, "name the program that does"); err != nil {
			return nil, err
		}
	}
	return to.Upgrade(ctx, UpgradeRequest(*body), a.by)
}

// takeOver gives the connection to the Control. What it could do is more than any change: only who could end this process
// may, however many the control socket is open to.
func (s *Server) takeOver(w http.ResponseWriter, r *http.Request) error {
	to, ok := s.options.Control.(Successor)
	if !ok {
		return NotFoundf("nothing can take over from this process")
	}
	if r.ContentLength != 0 {
		return errBody
	}
	if !strings.EqualFold(r.Header.Get("Upgrade"), handoffProtocol) {
		w.Header().Set("Upgrade", handoffProtocol)
		return errUpgradeRequired
	}
	c := r.Context().Value(connKey{}).(*conn)
	if err := mightBeSluice(c, "take over"); err != nil {
		return err
	}
	by := By{User: userOf(c)}
	raw, err := hijack(w, c)
	if err == nil {
		err = to.TakeOver(raw, by)
	}
	if err != nil { // there is nobody to answer any more
		s.options.Logger.Warn("another process has not taken over", "by", by.User, "error", err)
	}
	return nil
}

// mightBeSluice returns why who is at the other end may not do what makes a program of theirs this one.
func mightBeSluice(c *conn, what string) error {
	uid, err := uidOf(c)
	if err != nil {
		return forbidden{fmt.Errorf("who asks to %s is not known: %w", what, err)}
	}
	if own := uint32(os.Geteuid()); !mayBeSluice(uid, own) {
		return forbidden{fmt.Errorf("only root, and the user that sluice runs as, may %s: not uid %d", what, uid)}
	}
	return nil
}

func mayBeSluice(uid, own uint32) bool { return uid == 0 || uid == own }

// hijack answers 101 and takes the connection out of the server, and out of its places.
func hijack(w http.ResponseWriter, c *conn) (*net.UnixConn, error) {
	_, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	raw := c.Conn.(*net.UnixConn)
	_ = raw.SetWriteDeadline(time.Now().Add(answerTime))
	if _, err = io.WriteString(raw, switching); err == nil && buffered.Reader.Buffered() > 0 {
		err = errors.New("it speaks before it was answered")
	}
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	return raw, raw.SetDeadline(time.Time{})
}

// TakeOver asks the sluice at a control socket to be taken over. What is spoken on the connection is said by package
// sysutil/handoff; nothing of it is read here. ctx bounds the answer. The error may be a *Refusal.
func TakeOver(ctx context.Context, socket string) (*net.UnixConn, error) {
	dialed, err := new(net.Dialer).DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", socket, err)
	}
	c := dialed.(*net.UnixConn)
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // long ago
	err = askToTakeOver(c, socket)
	if !stop() && err != nil {
		err = fmt.Errorf("ask %s: %w", socket, context.Cause(ctx))
	} else if err == nil {
		err = ctx.Err() // the deadline is set, or about to be
	}
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

func askToTakeOver(c *net.UnixConn, socket string) error {
	request := "POST " + takeOverPath + " HTTP/1.1\r\nHost: sluice\r\nConnection: Upgrade\r\nUpgrade: " + handoffProtocol + "\r\n\r\n"
	if _, err := io.WriteString(c, request); err != nil {
		return fmt.Errorf("ask %s: %w", socket, err)
	}
	head, err := readHead(c)
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", socket, err)
	}
	answer, err := http.ReadResponse(bufio.NewReader(io.MultiReader(bytes.NewReader(head), c)), nil)
	if err != nil {
		return fmt.Errorf("read answer of %s: %w", socket, err)
	}
	if answer.StatusCode != http.StatusSwitchingProtocols {
		defer answer.Body.Close()
		return readRefusal(socket, answer)
	}
	return nil
}

// maxHead bounds the head of an answer.
const maxHead = 16 << 10

// readHead reads the head of an answer and not a byte more: descriptors come with what follows, and a read that does not
// ask for them would drop them.
func readHead(r io.Reader) (head []byte, err error) {
	for next := make([]byte, 1); !bytes.HasSuffix(head, []byte("\r\n\r\n")); head = append(head, next[0]) {
		if len(head) == maxHead {
			return nil, errors.New("the head of the answer does not end")
		}
		if _, err := io.ReadFull(r, next); err != nil {
			return nil, err
		}
	}
	return head, nil
}
