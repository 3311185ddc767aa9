package handoff

import "strconv"

// The version of the format that this program speaks. Another minor version has messages and fields more or fewer, and
// both sides get along; another major one understands hello, welcome, refused and failed, and the sockets in state.
const Major, Minor = 1, 1

// Kind is what a message is.
type Kind uint16

// The messages in the order in which they come. The numbers are part of the format.
const (
	Hello    Kind = 1 + iota // the successor: its version
	Welcome                  // the answer, with a pidfd
	Refused                  // or this, with the reason
	Failed                   // either: the hand-over is off, with the reason
	Take                     // the successor: its configuration is good
	State                    // what is not a session, with the sockets that listen
	Ready                    // the successor: its world is built
	Accounts                 // the counts of pools, health, listeners and clients
	Ack                      // the successor: accounts, or a batch, are in
	Batch                    // sessions with their sockets
	Go                       // they may move
	Counters                 // final sums
	Over                     // the old process has no more to say, or not before some sessions change
	Serving                  // the successor: it has taken over
	Farewell                 // the last sums of a process that stayed for some sessions
	kinds
)

var kindNames = [kinds]string{
	Hello: "hello", Welcome: "welcome", Refused: "refused", Failed: "failed", Take: "take", State: "state", Ready: "ready",
	Accounts: "accounts", Ack: "ack", Batch: "batch", Go: "go", Counters: "counters", Over: "over", Serving: "serving",
	Farewell: "farewell",
}

// known reports whether this version has the message.
func (k Kind) known() bool { return k > 0 && k < kinds }

// String is the name of the message; a number for none.
func (k Kind) String() string {
	if !k.known() {
		return "kind " + strconv.Itoa(int(k))
	}
	return kindNames[k]
}
