package probe

import (
	"context"
	"fmt"
	"sync"
)

// ways are the kinds of encryption that a login may try, in this order.
type ways struct {
	mu   sync.Mutex
	list []encryption
}

// openBy opens a connection by one of the ways. When the server refuses the first for what may be the way's fault, as
// blames says, the other one is tried, and is the first next time: each refusal is a line in the server's log.
func openBy[C any](ctx context.Context, w *ways, open func(context.Context, encryption) (C, error),
	blames func(encryption, error) bool,
) (C, error) {
	w.mu.Lock()
	list := w.list
	w.mu.Unlock()
	conn, err := open(ctx, list[0])
	if err == nil || len(list) == 1 || !blames(list[0], err) || ctx.Err() != nil {
		return conn, err
	}
	conn, otherErr := open(ctx, list[1])
	if otherErr != nil {
		return conn, fmt.Errorf("%w; %v: %w", err, list[1], otherErr)
	}
	w.mu.Lock()
	w.list = []encryption{list[1], list[0]}
	w.mu.Unlock()
	return conn, nil
}
