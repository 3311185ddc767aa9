package main

import (
	"context"
	"errors"
	"time"

	"sluice/cmd/sluice/internal/admin"
	"sluice/sysutil"
	"sluice/sysutil/handoff"
)

const (
	// deathTime is how long after the end of the connection it is waited for the end of the other process: the kernel closes
	// the one before it tells of the other.
	deathTime = 2 * time.Second
	// wordTime is how long the other process is waited for to say that it goes on.
	wordTime = time.Second
	// followedTime is how long somebody may take to answer who has followed the other process.
	followedTime = 500 * time.Millisecond
)

// died reports whether what went wrong is that the other process has ended. What it was about to hand over is this one's
// then: nobody else is left. Otherwise that one goes on with it.
func (t *takeOver) died(why error) bool {
	if !t.dead && !t.hangUp(why) {
		t.dead = sysutil.Exited(t.pidfd, deathTime) && !t.followed()
	}
	if t.dead {
		t.own()
	}
	if t.arrival != nil {
		t.arrival.Drop()
		t.arrival = nil
	}
	t.letGo()
	return t.dead
}

// hangUp ends the connection, so that the other process need not wait until the time is over. It reports whether that one
// has said that it goes on. That may have come before, unread: what this one has sent since had failed. So may have the go
// of a batch, which is this one's then.
func (t *takeOver) hangUp(why error) (goesOn bool) {
	_ = t.conn.SetDeadline(time.Now().Add(wordTime))
	_ = t.conn.Send(handoff.Failed, peerError(why)) // it finds out anyhow
	peer := (*handoff.PeerError)(nil)
	for goesOn = errors.As(why, &peer); !goesOn; {
		m, err := t.conn.Receive()
		if err != nil {
			break
		}
		m.CloseFiles()
		if goesOn = m.Kind == handoff.Failed; m.Kind == handoff.Go {
			t.own()
		}
	}
	_ = t.conn.Close()
	return goesOn
}

// followed reports whether a third process serves in place of the other one, which has taken back what this one had, and
// has handed it over since. If this process stood still meanwhile, only that says so: the other one has ended as it has
// when it dies, and its last word is lost if it was in the middle of another. Nobody else answers at the control socket:
// this process does not yet.
func (t *takeOver) followed() bool {
	ctx, cancel := context.WithTimeout(context.Background(), followedTime)
	defer cancel()
	_, _, err := admin.FetchStatus(ctx, t.socket)
	return err == nil
}
