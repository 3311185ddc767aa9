package docker

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"
	"time"
)

// event is what the engine says has happened, in the answer to GET /events.
type event struct {
	Type   string // "container" or "network"
	Action string
	Actor  struct {
		ID         string
		Attributes map[string]string // of a container its labels too
	}
	TimeNano int64 `json:"timeNano"`
}

// wantedEvents is the filter of GET /events. Engines of API 1.24 take health_status only with what comes after it, later
// ones take it as the beginning of a word.
var wantedEvents = map[string][]string{
	"type": {"container", "network"},
	"event": {
		"start", "kill", "die", "pause", "unpause", "rename", "health_status", "health_status: healthy",
		"health_status: unhealthy", "connect", "disconnect",
	},
}

// container returns the id of the container that the event is about.
func (e *event) container() string {
	if e.Type == "network" {
		return e.Actor.Attributes["container"]
	}
	return e.Actor.ID
}

// labelled reports whether the event is about a container with labels that are for sluice.
func (e *event) labelled() bool {
	if e.Type != "container" {
		return false
	}
	for name := range e.Actor.Attributes {
		if strings.HasPrefix(name, Prefix) {
			return true
		}
	}
	return false
}

// at is when it happened, by the engine's clock.
func (e *event) at() time.Time { return time.Unix(0, e.TimeNano) }

// signal returns the signal of a kill; 0 = the engine does not say.
func (e *event) signal() int {
	n, err := strconv.Atoi(e.Actor.Attributes["signal"])
	if err != nil {
		return signals[strings.TrimPrefix(e.Actor.Attributes["signal"], "SIG")]
	}
	return n
}

// signals has the number of each signal that images have for their stop signal, as signal(7) lists them.
var signals = map[string]int{
	"HUP": 1, "INT": 2, "QUIT": 3, "ABRT": 6, "KILL": 9, "USR1": 10, "USR2": 12, "TERM": 15, "WINCH": 28, "PWR": 30, "RTMIN+3": 37,
}

// stopSignal returns the number of a container's stop signal as its configuration has it; SIGTERM where it has none.
func stopSignal(text string) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	if n, ok := signals[strings.TrimPrefix(text, "SIG")]; ok {
		return n
	}
	return signals["TERM"]
}

// maxEvent is how long an event may be, in bytes: the labels of a container are in it.
const maxEvent = 1 << 20

// readEvents hands over every event of a stream until it ends.
func readEvents(r io.Reader, hear func(event)) error {
	limited := io.LimitedReader{R: r}
	for d := json.NewDecoder(&limited); ; {
		limited.N = maxEvent
		var e event
		if err := d.Decode(&e); err != nil {
			return err
		}
		hear(e)
	}
}
