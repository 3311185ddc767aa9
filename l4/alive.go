package l4

import (
	"context"
	"fmt"
	"slices"
)

// Responds asks every loop for a sign of life, and returns nil when all have given it. When ctx is done before, the
// error names the loops that have not. Loops of a server that is shut down, or has failed, are not asked.
func (srv *Server) Responds(ctx context.Context) error {
	answers := make(chan int, len(srv.loops))
	waiting := make([]int, len(srv.loops))
	for i, l := range srv.loops {
		waiting[i] = i
		l.inbox.post(message{kind: answerNow, ended: func(int) { answers <- i }})
	}
	for len(waiting) > 0 {
		select {
		case i := <-answers:
			waiting = slices.DeleteFunc(waiting, func(n int) bool { return n == i })
		case <-srv.life.Done():
			return nil
		case <-ctx.Done():
			return fmt.Errorf("loops %v do not answer: %w", waiting, context.Cause(ctx))
		}
	}
	return nil
}
