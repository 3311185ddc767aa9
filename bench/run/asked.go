package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"sluice/bench/load"
	"sluice/bench/record"
)

// askers ask for /metrics, each again as soon as it has an answer.
const askers = 64

// askedRow asks what those who ask for metrics cost the sessions. Two processes do the same work at the same time, and
// one of them is asked: so what the askers themselves take of the machine meets both.
func askedRow() row {
	flow := load.Flow{Work: load.Exchange, Sessions: 16, Size: 64, Pause: time.Millisecond, Loops: loadLoops()}
	return row{
		name: "asked", group: "Request and reply beside askers of /metrics, and of a second process that nobody asks",
		work: fmt.Sprintf("64B, 16 sessions that rest 1 ms after each reply, beside %d askers", askers),
		duty: duty{asked: true}, systems: []string{sluice},
		columns: []metric{p99Unasked, p99, p99Times, asksPerSecond}, key: p99, best: p99,
		measure: func(ctx context.Context, b *bed, d time.Duration) (figures, error) {
			return measureAsked(ctx, b, load.Plan{Flows: []load.Flow{flow}, Warmup: warmup, Duration: d})
		},
	}
}

func measureAsked(ctx context.Context, asked *bed, plan load.Plan) (f figures, err error) {
	unasked, err := newBed(ctx, asked.system, asked.bin, asked.duty)
	if err != nil {
		return nil, err
	}
	defer func() { err = unasked.close(err) }()
	askCtx, stop := context.WithCancel(ctx)
	a := ask(askCtx, "http://"+asked.aside.String()+"/metrics")
	f, err = measureBoth(ctx, asked, unasked, plan, a)
	stop()
	if failure := a.wait(); err == nil {
		err = failure
	}
	return f, err
}

// measureBoth takes the medians of some short runs, in each of which both have the same work.
func measureBoth(ctx context.Context, asked, unasked *bed, plan load.Plan, a *asking) (figures, error) {
	plan.Duration /= 2
	var is, was, times []float64
	before, began := a.answers.Load(), time.Now()
	for range silentRuns {
		var both sync.WaitGroup
		var reports [2]*load.Report
		var errs [2]error
		for i, b := range []*bed{asked, unasked} {
			both.Go(func() { reports[i], _, errs[i] = b.run(ctx, plan) })
		}
		both.Wait()
		for _, err := range errs {
			if err != nil {
				return nil, err
			}
		}
		with := micros(reports[0].Flows[0].Latency.Quantile(0.99))
		without := micros(reports[1].Flows[0].Latency.Quantile(0.99))
		is, was, times = append(is, with), append(was, without), append(times, with/without)
	}
	answers := float64(a.answers.Load()-before) / time.Since(began).Seconds()
	return figures{p99: record.Median(is), p99Unasked: record.Median(was), p99Times: record.Median(times), asksPerSecond: answers}, nil
}

// asking is a crowd that asks until its context is done.
type asking struct {
	all     sync.WaitGroup
	answers atomic.Uint64
	once    sync.Once
	failure error // of the first that got no answer
}

func ask(ctx context.Context, url string) *asking {
	a := &asking{}
	for range askers {
		a.all.Go(func() {
			transport := &http.Transport{} // its own connection, as a program of its own has
			defer transport.CloseIdleConnections()
			client := &http.Client{Transport: transport}
			for ctx.Err() == nil {
				err := get(ctx, client, url)
				switch {
				case err == nil:
					a.answers.Add(1)
				case ctx.Err() != nil || errors.Is(err, errNotTaken):
				default:
					a.once.Do(func() { a.failure = err })
					return
				}
			}
		})
	}
	return a
}

// errNotTaken: the connection has ended before an answer. It was too late for a place that others wanted: ask again.
var errNotTaken = errors.New("request was not taken")

func get(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return fmt.Errorf("%w: %w", errNotTaken, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("ask %s: %s", url, answer.Status)
	}
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// wait returns when all have stopped, with the error of the one that had to.
func (a *asking) wait() error {
	a.all.Wait()
	return a.failure
}
