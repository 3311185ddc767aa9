package l4

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"sluice/pool"
)

// A loop that hangs is named; when it goes on it answers again. After the end nobody is asked.
func TestResponds(t *testing.T) {
	srv := startServer(t, 2, newPool(t, 2, 0, pool.Address{TCP: netip.MustParseAddrPort("127.0.0.1:1")}), ListenerConfig{}, nil)
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	if err := srv.Responds(ctx); err != nil {
		t.Fatal(err)
	}
	hangs, goOn := make(chan bool), make(chan bool)
	srv.loops[1].inbox.post(message{kind: answerNow, ended: func(int) {
		hangs <- true
		<-goOn
	}})
	<-hangs
	given, giveUp := context.WithCancelCause(t.Context())
	asked := make(chan error)
	go func() { asked <- srv.Responds(given) }()
	tired := errors.New("long enough")
	giveUp(tired)
	if err := <-asked; !errors.Is(err, tired) || !strings.Contains(err.Error(), "1] do not answer") {
		t.Errorf("with a loop that hangs: %v", err)
	}
	close(goOn)
	if err := srv.Responds(ctx); err != nil {
		t.Errorf("the loop goes on, and %v", err)
	}
	if err := srv.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := srv.Responds(ctx); err != nil {
		t.Errorf("after the end: %v", err)
	}
}
