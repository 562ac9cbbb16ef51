package hub

import (
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub/settings"
)

// logOf returns a locked log with some messages that stay and some that expire, one
// each second.
func logOf(t testing.TB, stay, end int) (*Memory, *log) {
	t.Helper()
	e := NewMemory()
	e.budget.SetMax(settings.Off)
	l := e.lock("r")
	l.keep = settings.History{Count: stay + end}
	l.mu.Unlock()
	begin := time.Now()
	for i := range max(stay, end) {
		if i < stay {
			put(t, e, &Message{Room: "r"})
		}
		if i < end {
			put(t, e, &Message{Room: "r", Expires: begin.Add(time.Duration(i+1) * time.Second)})
		}
	}
	return e, e.lock("r")
}

func put(t testing.TB, e *Memory, m *Message) {
	t.Helper()
	if _, err := e.Publish(t.Context(), Draft{Message: m}); err != nil {
		t.Fatal(err)
	}
}

// allocated returns how many bytes f allocates.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// A window that is opened beside a log with messages does not pass for one that has them.
func TestWindowOpensAfterMessages(t *testing.T) {
	e, l := logOf(t, 2, 0)
	l.mu.Unlock()
	r := &room{name: "r", ring: ring{budget: e.budget}}
	r.policy.Store(&settings.Policy{History: settings.History{Count: 2}})
	if err := r.subscribe(t.Context(), &Hub{engine: e, keeper: e}); err != nil {
		t.Fatal(err)
	}
	q := Query{After: Position{Epoch: e.epoch, Offset: e.birth}, Limit: 9}
	if page, err := r.readAll(t.Context(), e, q); err != nil || page.Gap != nil || len(page.Messages) != 2 {
		t.Errorf("%d messages, gap %+v: %v", len(page.Messages), page.Gap, err)
	}
	put(t, e, &Message{Room: "r"}) // the log lets go of the first
	if page, err := r.readAll(t.Context(), e, q); err != nil || page.Gap == nil || len(page.Messages) != 2 {
		t.Errorf("after a loss: %d messages, gap %+v: %v", len(page.Messages), page.Gap, err)
	}
}

// The end of one message does not make the log anew.
func TestExpiryLeavesTheRestAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const stay, end = 10_000, 1000
		e, l := logOf(t, stay, end)
		defer l.mu.Unlock()
		now := time.Now()
		got := allocated(func() {
			for i := range end {
				e.trim(l, now.Add(time.Duration(i+1)*time.Second))
				if n := l.live(); n != stay+end-i-1 {
					t.Fatalf("%d messages after %d seconds", n, i+1)
				}
			}
		})
		if got > end*stay { // a byte for each message and time
			t.Errorf("%d bytes were allocated", got)
		}
	})
}

// Messages that expire, in any order, leave the others as they were, and nothing
// behind.
func TestExpiryInAnyOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewMemory()
		l := e.lock("r")
		l.keep = settings.History{Count: 500}
		l.mu.Unlock()
		for i := range 400 {
			m := &Message{Room: "r", Data: fmt.Append(nil, i)}
			if i%4 > 0 {
				m.Expires = time.Now().Add(time.Duration(1+i*i%100) * time.Second)
			}
			put(t, e, m)
		}
		for s := range 101 {
			var want []string
			for i := range 400 {
				if i%4 == 0 || 1+i*i%100 > s {
					want = append(want, fmt.Sprint(i))
				}
			}
			for _, q := range []Query{{Last: settings.Off, Limit: settings.Off}, {Age: time.Hour, Limit: settings.Off}, {InvalidCursor: true, Limit: settings.Off}} {
				page, err := e.Read(t.Context(), "r", q)
				var got []string
				for _, m := range page.Messages {
					got = append(got, string(m.Data))
				}
				if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
					t.Fatalf("after %d s, %+v: %v, want %v: %v", s, q, got, want, err)
				}
			}
			<-time.After(time.Second)
		}
		for range 500 {
			put(t, e, &Message{Room: "r", Expires: time.Now().Add(time.Hour)})
			e.Evict("r", e.last.Load())
		}
		if l.live() != 0 || l.messages.Len() != 0 || len(l.mortal) != 0 {
			t.Errorf("%d messages in %d places are left, %d to expire", l.live(), l.messages.Len(), len(l.mortal))
		}
	})
}

// BenchmarkExpiry lets one message of a log end.
func BenchmarkExpiry(b *testing.B) {
	for _, n := range []int{100, 100_000} {
		b.Run(fmt.Sprint("messages=", n), func(b *testing.B) {
			e, l := logOf(b, n, 0)
			defer l.mu.Unlock()
			l.keep.Count = settings.Off
			now := time.Now()
			for b.Loop() {
				m := &Message{Room: "r", Position: e.next(), Expires: now.Add(1)}
				e.budget.Hold(m)
				l.push(m)
				e.trim(l, m.Expires)
			}
		})
	}
}
