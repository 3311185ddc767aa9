package admin

import (
	"bytes"
	"sync"
	"time"

	"github.com/VictoriaMetrics/metrics"

	"sluice/sysutil"
)

// resourcesLast is how long what is known of the process counts as news. Asking the runtime for its memory stops every
// event loop (runtime.ReadMemStats stops the world), and the kernel may have to list each descriptor.
const resourcesLast = time.Second

// resources are the metrics of the process itself: those of the Go runtime, of /proc, and of descriptors.
type resources struct {
	mu    sync.Mutex
	until time.Time // what follows is good
	text  bytes.Buffer
	files uint64 // descriptors that are open; 0 = not known
}

// write writes what the metrics library has of the process.
func (r *resources) write(buf *bytes.Buffer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	buf.Write(r.text.Bytes())
}

// openFiles returns how many descriptors are open; 0 = not known.
func (r *resources) openFiles() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refresh()
	return r.files
}

func (r *resources) refresh() {
	now := time.Now()
	if now.Before(r.until) {
		return
	}
	r.until = now.Add(resourcesLast)
	var raw bytes.Buffer
	metrics.WriteGoMetrics(&raw)
	metrics.WriteProcMetrics(&raw)
	r.text.Reset()
	describe(&r.text, raw.Bytes(), nil)
	r.files = 0
	if n, err := sysutil.OpenFiles(); err == nil {
		r.files = uint64(n)
	}
}
