package main

import (
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"sluice/configs"
	"sluice/l4"
)

// restIsReadLater is what SIGHUP does not do.
const restIsReadLater = "the rest of the configuration is read at the next start"

// accessReloader reads the files of networks that allow and deny name again. It does so on a goroutine of its own: a
// large file, or one on a server that hangs, must not hold up the signal that ends the process.
type accessReloader struct {
	listeners []configs.Listener // those with files
	server    *l4.Server
	log       *slog.Logger
	asked     chan os.Signal // one place: a request that waits to be carried out stands for those that follow

	done   atomic.Uint64 // reloads in which every file was right
	failed atomic.Bool   // the last one
}

// newAccessReloader returns an accessReloader that does nothing until run is called.
func newAccessReloader(listeners []configs.Listener, server *l4.Server, log *slog.Logger) *accessReloader {
	r := &accessReloader{server: server, log: log, asked: make(chan os.Signal, 1)}
	for _, l := range listeners {
		if len(l.Allow.Files)+len(l.Deny.Files) > 0 {
			r.listeners = append(r.listeners, l)
		}
	}
	return r
}

// ask makes a reload happen soon. It does not block.
func (r *accessReloader) ask(s os.Signal) {
	select {
	case r.asked <- s:
	default:
	}
}

// run reloads whenever it is asked, until ending is closed. Nobody waits for it: it may be reading.
func (r *accessReloader) run(ending <-chan struct{}) {
	for {
		select {
		case s := <-r.asked:
			r.reload(s)
		case <-ending:
			return
		}
	}
}

func (r *accessReloader) reload(s os.Signal) {
	if len(r.listeners) == 0 {
		r.log.Warn("reload: no listener has a file of networks, nothing was read; "+restIsReadLater, "signal", s.String())
		return
	}
	wrong := 0
	for i := range r.listeners {
		l := &r.listeners[i]
		if err := r.reloadListener(l); err != nil {
			for line := range strings.Lines(err.Error()) { // one for each wrong line of a file
				r.log.Error("reload failed: the listener keeps the networks it has", "listener", l.Name,
					"error", strings.TrimSpace(line))
			}
			wrong++
		}
	}
	r.failed.Store(wrong > 0)
	if wrong == 0 {
		r.done.Add(1)
	}
	r.log.Info("reload: files of networks were read; "+restIsReadLater, "signal", s.String(),
		"listeners", len(r.listeners), "failed", wrong)
}

// reloadListener puts the networks of one listener in force, all of them or none.
func (r *accessReloader) reloadListener(l *configs.Listener) error {
	allow, deny, err := l.ReadAccess()
	if err != nil {
		return err
	}
	if err := r.server.SetAccess(l.Name, allow, deny); err != nil {
		return err
	}
	r.log.Info("reload: networks are in force", "listener", l.Name, "allow", len(allow), "deny", len(deny))
	return nil
}

// counts returns how many reloads there were in which every file was right, and whether the last one was such.
func (r *accessReloader) counts() (done uint64, ok bool) { return r.done.Load(), !r.failed.Load() }
