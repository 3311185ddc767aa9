package record

import (
	"bytes"
	"strings"
	"sync"
)

// A Tail keeps the last few hundred bytes written to it: what a program said before it ended.
type Tail struct {
	mu   sync.Mutex
	last []byte
}

const tailSize = 600

func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = append(t.last, b...)
	if over := len(t.last) - tailSize; over > 0 {
		t.last = bytes.Clone(t.last[over:])
	}
	return len(b), nil
}

// String returns what was kept on one line.
func (t *Tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(strings.Fields(string(t.last)), " ")
}
