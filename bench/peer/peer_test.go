package main

import (
	"errors"
	"io"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	f := func(script string, want []step, wantErr string) {
		t.Helper()
		got, err := parse(script)
		if wantErr != "" {
			if err == nil || !strings.Contains(err.Error(), wantErr) {
				t.Errorf("%q: got error %v, want %q", script, err, wantErr)
			}
			return
		}
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %+v, %v; want %+v", script, got, err, want)
		}
	}
	f("accept", []step{{verb: "accept"}}, "")
	f(" connect a:1 ;\n send 3;recv  4; ", []step{{verb: "connect", word: "a:1"}, {verb: "send", count: 3}, {verb: "recv", count: 4}}, "")
	f(`text "a;\"b\r\n"; pause 5ms`, []step{{verb: "text", word: "a;\"b\r\n"}, {verb: "pause", pause: 5 * time.Millisecond}}, "")
	f("", nil, "empty script")
	f("accept; jump", nil, `step 2: "jump": unknown step`)
	f("send", nil, "want send COUNT")
	f("fin now", nil, "want fin")
	f("send x", nil, "invalid syntax")
	f("send -1", nil, "negative count")
	f("pause 5", nil, "missing unit")
	f("text abc", nil, "invalid syntax")
}

// converse runs a server script and then, with ADDRESS filled in, a client
// script, and returns what the client reported and how each ended.
func converse(t *testing.T, server, client string) (said []string, serverErr, clientErr error) {
	t.Helper()
	address := make(chan string, 1)
	done := make(chan error, 1)
	steps, err := parse("listen 127.0.0.1:0; accept; " + server)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		p := peer{report: func(line string) {
			if word, found := strings.CutPrefix(line, "listen "); found {
				address <- word
			}
		}}
		done <- p.run(steps)
	}()
	steps, err = parse(strings.ReplaceAll(client, "ADDRESS", <-address))
	if err != nil {
		t.Fatal(err)
	}
	p := peer{report: func(line string) { said = append(said, line) }}
	clientErr = p.run(steps)
	return said, <-done, clientErr
}

func TestScripts(t *testing.T) {
	f := func(name, server, client string, wantServer, wantClient error, wantSaid ...string) {
		t.Helper()
		said, serverErr, clientErr := converse(t, server, client)
		if !errors.Is(serverErr, wantServer) || !errors.Is(clientErr, wantClient) {
			t.Errorf("%s: server ended with %v, client with %v; want %v and %v", name, serverErr, clientErr, wantServer, wantClient)
		}
		if len(said) > 0 {
			said = said[1:] // the addresses of the connection
		}
		if strings.Join(said, "|") != strings.Join(wantSaid, "|") {
			t.Errorf("%s: client said %q, want %q", name, said, wantSaid)
		}
	}
	f("exchange", "recv 64; send 100000", "connect ADDRESS; send 64; recv 100000; drain", nil, nil,
		"send 64", "recv 100000", "drain 0")
	f("half-close", "drain; send 5; close", "connect ADDRESS; text \"hi\"; fin; recv 5; drain", nil, nil,
		"text 2", "fin", "recv 5", "drain 0")
	f("reset by the server", "recv 1; rst", "connect ADDRESS; send 1; drain", nil, syscall.ECONNRESET, "send 1")
	f("reset by the client", "recv 1; drain", "connect ADDRESS; send 1; pause 1ms; rst", syscall.ECONNRESET, nil,
		"send 1", "pause 1ms", "rst")
	f("unread input makes close a reset", "send 10; drain", "connect ADDRESS; recv 1; close", syscall.ECONNRESET, nil,
		"recv 1", "close")
	f("too little", "send 3", "connect ADDRESS; recv 4", nil, io.EOF)
}

func TestStepsNeedTheirSocket(t *testing.T) {
	f := func(script string, want error) {
		t.Helper()
		steps, err := parse(script)
		if err != nil {
			t.Fatal(err)
		}
		p := peer{report: func(string) {}}
		if err := p.run(steps); !errors.Is(err, want) {
			t.Errorf("%q: got %v, want %v", script, err, want)
		}
	}
	f("send 1", errNoConnection)
	f("accept", errNoListener)
	f("listen 127.0.0.1:0; rst", errNoConnection)
}
