package hub

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"
)

// roomOf returns a hub and its only room, in which so many visitors are.
func roomOf(t testing.TB, visitors int, client func(i int) Client) (*Hub, *room) {
	t.Helper()
	s := Defaults()
	s.Rate, s.MaxConnections, s.MaxPerAddress = Unlimited, Off, Off
	h, err := New(s, NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
	r, err := h.acquire(t.Context(), "r", new(Client))
	if err != nil {
		t.Fatal(err)
	}
	r.unpin()
	for i := range visitors {
		c := client(i)
		r.presence.renew(&c, []byte(`1`), time.Duration(i+1)*time.Second)
	}
	return h, r
}

func stranger(i int) Client { return Client{ID: fmt.Sprint(i)} }
func sharing(i int) Client  { return Client{ID: fmt.Sprint(i), User: &User{ID: "guest"}} }

// The end of one lease looks at no more of the others than a heap does.
func TestLeasesEndByHeap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, r := roomOf(t, 1000, stranger)
		p := &r.presence
		<-time.After(time.Second - 1)
		synctest.Wait()
		p.mu.Lock()
		all := append(ranking[*lease](nil), p.fading...)
		// They were added in their order. What then takes the first one's place
		// comes down along the first child of each.
		looked := map[int]bool{0: true, len(all) - 1: true}
		for i := 1; i < len(all); i = 2*i + 1 {
			looked[i], looked[i+1] = true, true
		}
		for i := range p.fading {
			if !looked[i] {
				p.fading[i] = nil // whoever looks at it panics
			}
		}
		p.mu.Unlock()
		<-time.After(1)
		synctest.Wait()
		p.mu.Lock()
		if len(p.fading) != len(all)-1 || p.fading[0] != all[1] || !p.due.Equal(all[1].ends) {
			t.Errorf("%d leases are left of %d, the next look is at %v", len(p.fading), len(all), p.due)
		}
		p.fading = nil
		p.mu.Unlock()
		h.fading.Store(0)
	})
}

// A crowd that leaves at once is forgotten in pieces, and leaves no large maps.
func TestCrowdsEndInPieces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n = 10 * sweepChunk
		h, r := roomOf(t, n+1, stranger)
		synctest.Wait()
		p := &r.presence
		p.mu.Lock()
		for _, l := range p.fading[:n] {
			l.ends = time.Now()
		}
		p.mu.Unlock()
		pieces := 1
		for ; !p.step(); pieces++ {
			if len(p.members) != n+1-pieces*sweepChunk {
				t.Fatalf("%d are left after %d pieces", len(p.members), pieces)
			}
		}
		if pieces != 10 || len(p.members) != 1 || p.most > n/8 {
			t.Errorf("%d are left after %d pieces, in a map for %d", len(p.members), pieces, p.most)
		}
		if err := h.Check(); err != nil {
			t.Error(err)
		}
	})
}

// Where many connections are one user's, none of the others is looked at when
// one comes, shows a state, or goes.
func TestConnectionsOfOneUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, r := roomOf(t, 1000, sharing)
		p := &r.presence
		c := sharing(999)
		clear(p.members["guest"].leases[:998]) // whoever looks at one of them panics
		l := p.hold(&c, []byte(`2`), false)
		if got := string(p.members["guest"].state); got != "2" {
			t.Errorf("the state is %s", got)
		}
		p.release(l, WhyLeft, 0)
		if got := string(p.members["guest"].state); got != "1" || len(p.members["guest"].leases) != 999 {
			t.Errorf("the state is %s, with %d leases", got, len(p.members["guest"].leases))
		}
	})
}

// Whatever comes and goes, a member has the leases that it should have, and
// shows what was shown last.
func TestMemberConverges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rnd := rand.New(rand.NewPCG(1, 2))
		h, r := roomOf(t, 0, nil)
		var conns []string // in the order in which they showed a state
		for step := range 5000 {
			c := sharing(rnd.IntN(40))
			at := -1
			for i, conn := range conns {
				if conn == c.ID {
					at = i
				}
			}
			if at >= 0 {
				conns = append(conns[:at], conns[at+1:]...)
			}
			if goes := rnd.IntN(100) < step/50; at >= 0 && goes {
				r.presence.withdraw(&c)
			} else {
				r.presence.renew(&c, []byte(c.ID), time.Hour)
				conns = append(conns, c.ID)
			}
			switch m := r.presence.members["guest"]; {
			case (m == nil) != (len(conns) == 0):
				t.Fatalf("step %d: %+v with %d connections", step, m, len(conns))
			case m != nil && (string(m.state) != conns[len(conns)-1] || len(m.leases) != len(conns)):
				t.Fatalf("step %d: %s is shown, with %d leases, not %s", step, m.state, len(m.leases), conns[len(conns)-1])
			}
			if err := h.Check(); err != nil {
				t.Fatalf("step %d: %v", step, err)
			}
		}
	})
}

// Between two frames all share one snapshot in a room of many, those who poll
// as well.
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
		if n := testing.AllocsPerRun(10, func() { second, _ = h.Caller(Client{}).Presence("r") }); n > 0 || second != first {
			t.Errorf("a poll makes a snapshot of its own, in %v allocations", n)
		}
	})
}

// BenchmarkLease is one connection of many coming and going, by its lease.
func BenchmarkLease(b *testing.B) {
	for name, client := range map[string]func(int) Client{"strangers": stranger, "one user": sharing} {
		for _, n := range []int{10, 50_000} {
			b.Run(fmt.Sprint(name, "/leases=", n), func(b *testing.B) {
				_, r := roomOf(b, n, client)
				c := client(n / 2)
				for b.Loop() {
					r.presence.renew(&c, []byte(`2`), time.Hour)
					r.presence.withdraw(&c)
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
				r.presence.tick()
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
