package probe

import (
	"context"
	"time"
)

// A Prober asks one server. Probe may be called while another Probe is under way; Wait is called by one goroutine.
type Prober interface {
	// Probe asks once and returns what the server said, or why it is not fit. It returns soon after ctx is done.
	Probe(ctx context.Context) (Answer, error)
	// Wait returns true as soon as a connection that is kept between probes is lost: it is worth asking at once. It
	// returns false when ctx is done.
	Wait(ctx context.Context) (lost bool)
	// Close ends what is kept between probes, politely. No Probe or Wait is under way or called later.
	Close()
}

// Answer is what a server said that is fit.
type Answer struct {
	Database *DatabaseAnswer // nil for kinds that ask no database
	// CertificateEnds is when the server's certificate ends, also of one that is not fit; zero: no handshake showed one.
	CertificateEnds time.Time
}
