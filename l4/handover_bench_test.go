package l4

import (
	"encoding/json"
	"testing"
)

// BenchmarkHandover measures what each of the two processes does for a full batch of idle sessions.
// The sessions' pause is all of it, and what the wire takes.
func BenchmarkHandover(b *testing.B) {
	r := newRig(b, rigConfig{})
	for range batchMax {
		r.pair()
	}
	d := &Departure{srv: r.srv}
	var data []byte
	b.Run("freeze and return", func(b *testing.B) {
		for b.Loop() {
			batch := &Batch{d: d, loop: r.loop, sessions: r.loop.hunt(&hunt{})}
			r.loop.takeBack(batch.sessions)
			r.loop.runQueue()
		}
	})
	batch := &Batch{d: d, loop: r.loop, sessions: r.loop.hunt(&hunt{})}
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			data = must(json.Marshal(batch.Records()))
		}
		b.SetBytes(int64(len(data)))
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			var records []Record
			if err := json.Unmarshal(data, &records); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("adopt and drop", func(b *testing.B) {
		var records []Record
		if err := json.Unmarshal(data, &records); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			a := &Arrival{srv: r.srv}
			if err := a.match(records, batch.Files()); err != nil {
				b.Fatal(err)
			}
			r.srv.lodge(a.come)
			a.harbour()
			r.loop.adopt(a.come)
			for _, c := range a.come {
				s := r.loop.sessions.find(c.token)
				for i := range s.ends {
					r.loop.poller.Remove(int(s.ends[i].fd))
					s.ends[i].fd = -1 // it is the batch's
				}
				r.loop.drop(s)
			}
		}
	})
	r.loop.takeBack(batch.sessions)
	r.pool.Backends()[0].Expect(0)
}
