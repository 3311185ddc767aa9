package main

import (
	"context"
	"fmt"
	"time"

	"sluice/bench/load"
)

// A row is one kind of work, measured for every system.
type row struct {
	name  string // for -only
	group string // heading of the table it is in
	work  string // what the table says
	quick bool   // takes part in -quick
	duty
	systems []string // unless nil, the names of those that take part
	columns []metric // those of one group are the same
	key     metric   // what ratios are taken of
	best    metric   // the variant of a program that does best by this counts
	measure func(context.Context, *bed, time.Duration) (figures, error)
}

const (
	idleSessions  = 4000
	connectLimit  = 7500 // connections per measurement, warm-up included
	bulkSessions  = 4
	smallSessions = 16 // beside bulk streams
	warmup        = 200 * time.Millisecond
)

// rows lists what is measured, in the order of the tables.
func rows() []row {
	list := []row{
		exchangeRow(1, 64, "64B"), exchangeRow(64, 64, "64B"), exchangeRow(1000, 64, "64B"),
		exchangeRow(1, 8<<10, "8K"), exchangeRow(64, 8<<10, "8K"), exchangeRow(1000, 8<<10, "8K"),
		withProxy(exchangeRow(64, 64, "64B")),
		connectRow(), withProxy(connectRow()), refusedRow(),
		bulkRow(load.Download, "bulk-down", "4 downloads"), bulkRow(load.Upload, "bulk-up", "4 uploads"),
		mixedRow("mixed", " that rest 1 ms after each reply", time.Millisecond), mixedRow("mixed-closed", "", 0),
		// Not beside connect, which leaves as many sockets in TIME_WAIT as the
		// kernel keeps (net.ipv4.tcp_max_tw_buckets), for a minute.
		namesRow(),
		idleRow(), withProxy(idleRow()), silentRow(), askedRow(),
	}
	for i := range list {
		switch list[i].name {
		case "64B-64", "connect", "connect-sni", "refused", "bulk-down", "mixed", "idle", "silent":
			list[i].quick = true
		}
	}
	return list
}

// withProxy is r with a PROXY header at the start of each backend connection.
func withProxy(r row) row {
	r.name += "-proxy"
	r.work += ", PROXY header"
	r.proxy = true
	return r
}

func exchangeRow(sessions, size int, label string) row {
	flow := load.Flow{Work: load.Exchange, Sessions: sessions, Size: size, Loops: loadLoops()}
	return row{
		name: fmt.Sprintf("%s-%d", label, sessions), group: "Request and reply",
		work:    fmt.Sprintf("%s, %d sessions", label, sessions),
		columns: []metric{perSecond, p50, p99, cpuEach}, key: cpuEach, best: cpuEach,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			report, cpu, err := b.run(ctx, load.Plan{Flows: []load.Flow{flow}, Warmup: warmup, Duration: d})
			if err != nil {
				return nil, err
			}
			return exchangeFigures(&report.Flows[0], report.Elapsed, cpu), nil
		},
	}
}

// connectRow ends by count, not by time, so that ports never run out.
func connectRow() row {
	return row{
		name: "connect", group: "Connect, request, reply, close", work: "64B, 64 at a time",
		columns: []metric{perSecond, p50, p99, cpuEach}, key: cpuEach, best: cpuEach,
		measure: measureConnect(load.Flow{Size: 64}),
	}
}

// namesRow is connectRow with a ClientHello as the request.
func namesRow() row {
	r := connectRow()
	r.name, r.group = "connect-sni", "Connect, TLS ClientHello that is routed by its name, reply, close"
	r.work = fmt.Sprintf("one of %d names, 64 at a time", nameCount)
	r.names, r.systems = true, plain
	r.measure = measureConnect(load.Flow{ServerName: askedName})
	return r
}

// measureConnect measures a flow of short connections, told by its message.
func measureConnect(flow load.Flow) func(context.Context, *bed, time.Duration) (figures, error) {
	flow.Work, flow.Sessions, flow.Loops, flow.Limit = load.Connect, 64, loadLoops(), connectLimit
	return func(ctx context.Context, b *bed, _ time.Duration) (figures, error) {
		report, cpu, err := b.run(ctx, load.Plan{Flows: []load.Flow{flow}, Sources: 16,
			Warmup: warmup / 4, Duration: 10 * time.Second})
		if err != nil {
			return nil, err
		}
		return exchangeFigures(&report.Flows[0], report.Elapsed, cpu), nil
	}
}

// refusedRow leaves nothing in TIME_WAIT, so it is not limited by count.
func refusedRow() row {
	flow := load.Flow{Work: load.Refused, Sessions: 64, Loops: loadLoops()}
	return row{
		name: "refused", group: "Connections refused by the client's address", work: "64 at a time",
		duty: duty{deny: true}, systems: plain,
		columns: []metric{perSecond, p50, p99, cpuEach, perCPU}, key: perCPU, best: perCPU,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			report, cpu, err := b.run(ctx, load.Plan{Flows: []load.Flow{flow}, Warmup: warmup, Duration: d})
			if err != nil {
				return nil, err
			}
			f := exchangeFigures(&report.Flows[0], report.Elapsed, cpu)
			f[perCPU] = float64(report.Flows[0].Replies) / cpu.Seconds()
			return f, nil
		},
	}
}

func exchangeFigures(f *load.FlowReport, elapsed, cpu time.Duration) figures {
	return figures{
		perSecond: float64(f.Replies) / elapsed.Seconds(),
		p50:       micros(f.Latency.Quantile(0.5)),
		p99:       micros(f.Latency.Quantile(0.99)),
		cpuEach:   micros(cpu) / float64(f.Replies),
	}
}

func bulkRow(work load.Work, name, text string) row {
	flow := load.Flow{Work: work, Sessions: bulkSessions, Loops: loadLoops()}
	return row{
		name: name, group: "Bulk", work: text,
		columns: []metric{gigabits, cpuPerGB}, key: cpuPerGB, best: cpuPerGB,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			report, cpu, err := b.run(ctx, load.Plan{Flows: []load.Flow{flow}, Warmup: warmup, Duration: d})
			if err != nil {
				return nil, err
			}
			return bulkFigures(report.Flows[0].Bytes, report.Elapsed, cpu), nil
		},
	}
}

func bulkFigures(moved uint64, elapsed, cpu time.Duration) figures {
	return figures{
		gigabits: float64(moved) * 8 / 1e9 / elapsed.Seconds(),
		cpuPerGB: cpu.Seconds() / (float64(moved) / 1e9),
	}
}

// mixedRow gives the balancer one core: what a bulk stream takes is then what
// a small message waits for. Without a pause, a system that answers sooner is
// asked more often, and the generator's processor, which makes the bulk too, has
// less left for that.
func mixedRow(name, work string, pause time.Duration) row {
	flows := []load.Flow{
		{Work: load.Exchange, Sessions: smallSessions, Size: 64, Pause: pause},
		{Work: load.Download, Sessions: bulkSessions},
	}
	return row{
		name: name, group: "Small messages beside bulk, one core for the balancer",
		work: fmt.Sprintf("64B, %d sessions%s, beside 4 downloads", smallSessions, work), duty: duty{threads: 1},
		columns: []metric{perSecond, p50, p99, gigabits, cpuPerGB}, key: p50, best: gigabits,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			report, cpu, err := b.run(ctx, load.Plan{Flows: flows, Warmup: warmup, Duration: d})
			if err != nil {
				return nil, err
			}
			result := bulkFigures(report.Flows[1].Bytes, report.Elapsed, cpu)
			small := exchangeFigures(&report.Flows[0], report.Elapsed, cpu)
			for _, m := range []metric{perSecond, p50, p99} {
				result[m] = small[m]
			}
			return result, nil
		},
	}
}

func idleRow() row {
	return row{
		name: "idle", group: "Idle sessions", work: "held after one exchange",
		columns: []metric{bytesEach, descriptors}, key: bytesEach, best: bytesEach,
		measure: func(ctx context.Context, b *bed, _ time.Duration) (figures, error) {
			sessions := idleSessions
			if b.system.idleSessions > 0 {
				sessions = b.system.idleSessions
			}
			return measureIdle(ctx, b, sessions)
		},
	}
}

// measureIdle compares the system's usage before and during many sessions. It
// has carried some before, so that the code and tables every system touches
// with its first sessions are not counted.
func measureIdle(ctx context.Context, b *bed, sessions int) (figures, error) {
	hold := func(n int, begin func() error) error {
		_, err := load.Run(ctx, load.Plan{Target: b.target, Begin: begin,
			Flows: []load.Flow{{Work: load.Hold, Sessions: n, Size: 64}}})
		return err
	}
	if err := hold(64, nil); err != nil {
		return nil, err
	}
	before, err := b.settle(ctx)
	if err != nil {
		return nil, err
	}
	var during usage
	if err := hold(sessions, func() (err error) { during, err = b.settle(ctx); return err }); err != nil {
		return nil, err
	}
	return figures{
		bytesEach:   float64(during.resident-before.resident) / float64(sessions),
		descriptors: float64(during.descriptors-before.descriptors) / float64(sessions),
	}, nil
}
