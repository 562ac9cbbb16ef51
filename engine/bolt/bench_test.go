package bolt

import (
	"bytes"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// payload returns the data of a message, of 200 bytes.
func payload() []byte { return bytes.Repeat([]byte("x"), 200) }

// BenchmarkPublish publishes in 1,000 rooms: how long a message takes until it is acknowledged; with several
// publishers, how long all of them together take for one.
func BenchmarkPublish(b *testing.B) {
	for _, sync := range []time.Duration{100 * time.Millisecond, 0} {
		for _, publishers := range []int{1, 64} {
			b.Run(fmt.Sprintf("sync=%s/publishers=%d", sync, publishers), func(b *testing.B) {
				e := opened(b, filepath.Join(b.TempDir(), "rooms.db"), Options{Sync: sync})
				names := make([]string, 1000)
				for i := range names {
					names[i] = fmt.Sprint("room", i)
					use(b, e, names[i], 100)
				}
				var next atomic.Int64
				one := func() {
					m := &hub.Message{Room: names[next.Add(1)%1000], Data: payload()}
					if _, err := e.Publish(b.Context(), hub.Draft{Message: m}); err != nil {
						b.Error(err)
					}
				}
				b.ReportAllocs()
				if publishers == 1 {
					for b.Loop() {
						one()
					}
					return
				}
				b.SetParallelism(max(publishers/runtime.GOMAXPROCS(0), 1))
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						one()
					}
				})
			})
		}
	}
}

// BenchmarkRead reads 64 messages after a cursor from the database, of a room that has 10,000 among those of 99 others.
func BenchmarkRead(b *testing.B) {
	e := opened(b, filepath.Join(b.TempDir(), "rooms.db"), interval)
	for i := range 100 {
		use(b, e, fmt.Sprint("room", i), 10_000)
	}
	var own []uint64 // of room0
	for range 100 {
		batch := gathered(b, e, func(i int) string { return fmt.Sprint("room", i%100) })
		bring(b, e, batch)
		for i := 0; i < len(batch); i += 100 {
			own = append(own, batch[i].offset)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		at := hub.Position{Epoch: e.info.Epoch, Offset: own[rand.IntN(len(own)-64)]}
		page, err := e.Read(b.Context(), "room0", hub.Query{After: at, Limit: 64})
		if err != nil || page.Gap != nil || len(page.Messages) != 64 {
			b.Fatal(len(page.Messages), page.Gap, err)
		}
	}
}

// BenchmarkApply brings 10,000 messages into the database, and to the disk, as the follower does once a second.
func BenchmarkApply(b *testing.B) {
	for _, rooms := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprint("rooms=", rooms), func(b *testing.B) {
			e := opened(b, filepath.Join(b.TempDir(), "rooms.db"), interval)
			e.Govern(func(string) settings.History { return settings.History{Count: 100} })
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := gathered(b, e, func(i int) string { return fmt.Sprint("room", i%rooms) })
				b.StartTimer()
				bring(b, e, batch)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batchSize, "ns/message")
		})
	}
}

// BenchmarkOpen opens a database with 1,000,000 rooms of one message each, which must take less than 2 s.
func BenchmarkOpen(b *testing.B) {
	if testing.Short() {
		b.Skip("it makes a file of some 600 MB")
	}
	path := filepath.Join(b.TempDir(), "rooms.db")
	e := New(path, interval, slog.New(slog.DiscardHandler))
	if err := e.Open(b.Context()); err != nil {
		b.Fatal(err)
	}
	for part := range 100 {
		bring(b, e, gathered(b, e, func(i int) string { return fmt.Sprint("room", part*batchSize+i) }))
	}
	closed(b, e)
	e = nil
	info, err := os.Stat(path)
	if err != nil {
		b.Fatal(err)
	}
	heap := inUse()
	for b.Loop() {
		e = New(path, interval, slog.New(slog.DiscardHandler))
		begin := time.Now()
		err := e.Open(b.Context())
		took := time.Since(begin)
		b.StopTimer()
		if err != nil || took > 2*time.Second {
			b.Fatal(took, err)
		}
		b.ReportMetric(float64(inUse()-heap)/1e6, "MB-heap")
		b.ReportMetric(float64(info.Size())/1e6, "MB-file")
		closed(b, e)
		b.StartTimer()
	}
}

// inUse returns the bytes of the heap that are in use.
func inUse() int64 {
	var m runtime.MemStats
	for range 2 { // what pools keep goes with the second collection
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// batchSize is how many entries one transaction brings.
const batchSize = 10_000

// gathered returns entries as the writer would make them, after the newest that the database has. name returns the room
// of each.
func gathered(b *testing.B, e *Engine, name func(i int) string) []*entry {
	b.Helper()
	var last uint64
	if err := e.view(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		last = p.Last
		return err
	}); err != nil {
		b.Fatal(err)
	}
	rooms := make(map[string]*room)
	batch := make([]*entry, 0, batchSize)
	for i := range batchSize {
		r := rooms[name(i)]
		if r == nil {
			r = &room{name: name(i)}
			rooms[r.name] = r
		}
		n, err := e.entry(&publication{room: r, message: &hub.Message{Data: payload()}}, last+1+uint64(i), time.Now())
		if err != nil {
			b.Fatal(err)
		}
		batch = append(batch, n)
	}
	return batch
}

// bring brings entries into the database.
func bring(b *testing.B, e *Engine, batch []*entry) {
	b.Helper()
	if err := e.update(func(tx *bbolt.Tx) error { return e.apply(tx, batch, 0, time.Now()) }); err != nil {
		b.Fatal(err)
	}
	e.newest.Store(batch[len(batch)-1].offset)
}
