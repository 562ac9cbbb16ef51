// Package rate measures how fast an engine, or what another server has in its place, takes messages. It runs in
// a process of its own, so that what the kernel counts of that is the engine's. It imports the standard library alone.
package rate

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Store is what is measured. Publish may be called by several goroutines at once.
type Store interface {
	Publish(room string, data []byte) error
	Close() error
}

// Order says what to measure, as one line of JSON.
type Order struct {
	Publishers int           // each publishes one message after the other
	Rooms      int           // in turn
	Size       int           // of a message, in bytes
	For        time.Duration // without opening and closing
}

// Answer is what was measured, as one line of JSON.
type Answer struct {
	Error    string
	Count    int           // messages
	Took     time.Duration // for all of them
	P50, P99 time.Duration // for one
	Written  int64         // bytes that the kernel was given to write to the disk, until the store had closed
	Size     int64         // bytes of the files then
}

// Serve carries out orders from in until it ends, and answers each on out. open opens an empty store in a folder,
// which is removed after each order.
func Serve(open func(dir string, rooms []string) (Store, error), in io.Reader, out io.Writer) error {
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var o Order
		if err := json.Unmarshal(lines.Bytes(), &o); err != nil {
			return err
		}
		a, err := measure(open, o)
		if err != nil {
			a.Error = err.Error()
		}
		if err := json.NewEncoder(out).Encode(a); err != nil {
			return err
		}
	}
	return nil
}

func measure(open func(dir string, rooms []string) (Store, error), o Order) (a Answer, err error) {
	dir, err := os.MkdirTemp("", "realtime-bench")
	if err != nil {
		return a, err
	}
	defer os.RemoveAll(dir)
	var rooms []string
	for i := range o.Rooms {
		rooms = append(rooms, fmt.Sprint("room", i))
	}
	s, err := open(dir, rooms)
	if err != nil {
		return a, err
	}
	if _, _, err := publish(s, rooms, o, 64, func(n int) bool { return n <= len(rooms) }); err != nil { // once in each
		return a, errors.Join(err, s.Close())
	}
	before, err := written()
	if err != nil {
		return a, errors.Join(err, s.Close())
	}
	began := time.Now()
	took, count, err := publish(s, rooms, o, o.Publishers, func(int) bool { return time.Since(began) < o.For })
	a.Took, a.Count = time.Since(began), count
	if err := errors.Join(err, s.Close()); err != nil {
		return a, err
	}
	after, err := written()
	if err != nil {
		return a, err
	}
	a.Written, a.P50, a.P99 = after-before, took[len(took)/2], took[len(took)*99/100]
	a.Size, err = size(dir)
	return a, err
}

// publish publishes on so many goroutines while more returns true for the next message's number, and returns how long each
// took, in order of that.
func publish(s Store, rooms []string, o Order, publishers int, more func(n int) bool) (took []time.Duration, count int, err error) {
	var (
		next atomic.Int64
		work sync.WaitGroup
		mu   sync.Mutex
	)
	data := []byte(strings.Repeat("x", o.Size))
	for range publishers {
		work.Go(func() {
			var own []time.Duration
			var failed error
			for failed == nil {
				n := int(next.Add(1))
				if !more(n) {
					break
				}
				begin := time.Now()
				failed = s.Publish(rooms[n%len(rooms)], slices.Clone(data))
				own = append(own, time.Since(begin))
			}
			mu.Lock()
			defer mu.Unlock()
			took, err = append(took, own...), errors.Join(err, failed)
		})
	}
	work.Wait()
	slices.Sort(took)
	if len(took) == 0 {
		return nil, 0, errors.Join(err, errors.New("nothing was published"))
	}
	return took, len(took), err
}

// written returns how many bytes this process has had the kernel write, see proc_pid_io(5).
func written() (n int64, err error) {
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0, err
	}
	_, after, _ := strings.Cut(string(b), "\nwrite_bytes:")
	_, err = fmt.Sscan(after, &n)
	return n, err
}

// size returns the bytes of all files in a folder.
func size(dir string) (sum int64, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	return sum, err
}
