package hub

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// roomOf returns a hub and its only room, with n visitors.
func roomOf(t testing.TB, visitors int, client func(i int) Client) (*Hub, *room) {
	t.Helper()
	s := settings.Defaults()
	s.Rate, s.MaxConnections, s.MaxPerAddress = limit.Unlimited, settings.Off, settings.Off
	h, err := New(s, NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r, err := h.acquire(t.Context(), "r", h.Caller(Client{}))
	if err != nil {
		t.Fatal(err)
	}
	r.unpin()
	for i := range visitors {
		c := client(i)
		r.attendance.renew(&c, []byte(`1`), time.Duration(i+1)*time.Second)
	}
	return h, r
}

func stranger(i int) Client { return Client{ID: fmt.Sprint(i)} }
func sharing(i int) Client  { return Client{ID: fmt.Sprint(i), User: &User{ID: "guest"}} }

// A member that renews its lease keeps its place where as many leases end in the hub as
// may be connected; a lease that begins then has none.
func TestRenewalAtTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := roomOf(t, 0, nil)
		set := *h.Settings()
		set.MaxConnections = 2
		if err := h.Configure(&set); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{1, 2, 2} { // the third is one too many
			c := stranger(i)
			r.attendance.renew(&c, []byte(`1`), time.Minute)
			if n := r.memberCount(); n != want {
				t.Fatalf("%d members, want %d", n, want)
			}
		}
		for i := range 2 {
			c := stranger(i)
			r.attendance.renew(&c, []byte(`2`), time.Hour)
		}
		<-time.After(2 * time.Minute)
		if n := r.memberCount(); n != 2 || h.fading.Load() != 2 {
			t.Errorf("%d members with %d leases that end, want 2 and 2", n, h.fading.Load())
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// Many that leave at once are forgotten in pieces.
func TestCrowdsEndInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10 * sweepChunk
		h, r := roomOf(t, 0, nil)
		for i := range n + 1 {
			c := stranger(i)
			r.attendance.renew(&c, []byte(`1`), time.Duration(1+i/n)*time.Second)
		}
		p := &r.attendance
		synctest.Wait() // the first frame, which sets the timer anew
		p.mu.Lock()
		p.timer.Stop()
		p.mu.Unlock()
		<-time.After(time.Second)
		pieces := 1
		for ; !p.step(); pieces++ {
			if p.roster.Members() != n+1-pieces*sweepChunk {
				t.Fatalf("%d are left after %d pieces", p.roster.Members(), pieces)
			}
		}
		if pieces != 10 || p.roster.Members() != 1 {
			t.Errorf("%d are left after %d pieces", p.roster.Members(), pieces)
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// In a large room all readers between two frames share one snapshot, including polls.
func TestPollsShareASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _ := roomOf(t, 10*exactSnapshots, stranger)
		synctest.Wait() // the first frame
		first, err := h.Caller(Client{}).Presence("r")
		if err != nil || len(first.Here) != 10*exactSnapshots {
			t.Fatalf("%d are here: %v", len(first.Here), err)
		}
		for i := range first.Here[1:] {
			if first.Here[i].ID >= first.Here[i+1].ID {
				t.Fatal("they are in no order")
			}
		}
		var second *Presence
		poll := h.Caller(Client{})
		if n := testing.AllocsPerRun(10, func() { second, _ = poll.Presence("r") }); n > 0 || second != first {
			t.Errorf("a poll makes a snapshot of its own, in %v allocations", n)
		}
	})
}

// BenchmarkLease measures one of many connections that comes and goes, through its
// lease.
func BenchmarkLease(b *testing.B) {
	for name, client := range map[string]func(int) Client{"strangers": stranger, "one user": sharing} {
		for _, n := range []int{10, 50_000} {
			b.Run(fmt.Sprint(name, "/leases=", n), func(b *testing.B) {
				_, r := roomOf(b, n, client)
				c := client(n / 2)
				for b.Loop() {
					r.attendance.renew(&c, []byte(`2`), time.Hour)
					r.attendance.withdraw(&c)
				}
			})
		}
	}
}

// BenchmarkTick is the look at a room's leases when the first one's time is over.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{10, 50_000} {
		b.Run(fmt.Sprint("leases=", n), func(b *testing.B) {
			_, r := roomOf(b, n, stranger)
			for b.Loop() {
				r.attendance.tick()
			}
		})
	}
}

// BenchmarkSnapshot is a poll that asks who is there.
func BenchmarkSnapshot(b *testing.B) {
	h, _ := roomOf(b, 10_000, stranger)
	for b.Loop() {
		if _, err := h.Caller(Client{}).Presence("r"); err != nil {
			b.Fatal(err)
		}
	}
}
