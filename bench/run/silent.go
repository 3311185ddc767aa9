package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

const (
	silentClients = 5000
	silence       = "600s" // how long a system waits for them: longer than any measurement
	// silentRuns halves of a measurement are made before and as many beside them: the
	// p99 of one depends on where the kernel has put the threads.
	silentRuns = 5
)

// silentRow asks what clients that connect and never send a byte cost the others.
func silentRow() row {
	flow := load.Flow{Work: load.Exchange, Sessions: 64, Size: 64, Loops: loadLoops()}
	return row{
		name: "silent", group: "Request and reply beside silent connections, whose ClientHello is waited for",
		work: fmt.Sprintf("64B, 64 sessions, beside %s silent ones", record.Thousands(silentClients)),
		duty: duty{silent: true}, systems: plain,
		columns: []metric{p99Before, p99, p99Times, bytesEach}, key: p99, best: p99,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			return measureSilent(ctx, b, load.Plan{Flows: []load.Flow{flow}, Warmup: warmup, Duration: d})
		},
	}
}

// measureSilent measures the same work before and beside silent connections.
func measureSilent(ctx context.Context, b *bed, plan load.Plan) (figures, error) {
	few, err := connectSilent(b, silentClients/10) // so that tables that are made once are there
	few.close()
	if err != nil {
		return nil, err
	}
	was, err := medianP99(ctx, b, plan)
	if err != nil {
		return nil, err
	}
	memory, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	all, err := connectSilent(b, silentClients)
	defer all.close()
	if err != nil {
		return nil, err
	}
	more, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	is, err := medianP99(ctx, b, plan)
	if err != nil {
		return nil, err
	}
	if err := all.check(); err != nil {
		return nil, err
	}
	if held := more.descriptors - memory.descriptors; held < silentClients {
		return nil, fmt.Errorf("the system holds %d of %d silent connections", held, silentClients)
	}
	return figures{
		p99Before: was, p99: is, p99Times: is / was,
		bytesEach: float64(more.resident-memory.resident) / silentClients,
	}, nil
}

// medianP99 is the median of some short runs of a plan, in microseconds.
func medianP99(ctx context.Context, b *bed, plan load.Plan) (float64, error) {
	plan.Duration /= 2
	var each []float64
	for range silentRuns {
		report, _, err := b.run(ctx, plan)
		if err != nil {
			return 0, err
		}
		each = append(each, micros(report.Flows[0].Latency.Quantile(0.99)))
	}
	return record.Median(each), nil
}

// silentConns are clients that say nothing.
type silentConns []net.Conn

func connectSilent(b *bed, n int) (conns silentConns, err error) {
	for range n {
		conn, err := net.Dial("tcp", b.aside.String())
		if err != nil {
			return conns, err
		}
		conns = append(conns, conn)
	}
	return conns, nil
}

// check reports whether the system still waits for all of them.
func (s silentConns) check() error {
	for _, conn := range s {
		conn.SetReadDeadline(time.Now().Add(time.Microsecond))
		if _, err := conn.Read(make([]byte, 1)); !isTimeout(err) {
			return fmt.Errorf("a silent connection was ended: %w", err)
		}
	}
	return nil
}

func isTimeout(err error) bool {
	var timeout net.Error
	return errors.As(err, &timeout) && timeout.Timeout()
}

func (s silentConns) close() {
	for _, conn := range s {
		conn.Close()
	}
}
