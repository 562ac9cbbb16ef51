package presence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// begin is when the tests begin.
var begin = time.Date(2026, 11, 21, 7, 0, 0, 0, time.UTC)

func after(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }

// strangers returns a roster of members with one lease each, which end second by second.
func strangers(n int) *Roster {
	r := new(Roster)
	for i := range n {
		r.Renew(fmt.Sprint(i), "", fmt.Sprint(i), []byte(`1`), after(i+1))
	}
	r.Settle()
	return r
}

// guests returns a roster of one member with many leases.
func guests(n int) *Roster {
	r := new(Roster)
	for i := range n {
		r.Renew("guest", "", fmt.Sprint(i), []byte(`1`), after(i+1))
	}
	r.Settle()
	return r
}

func check(t *testing.T, r *Roster) {
	t.Helper()
	if _, err := r.Check(); err != nil {
		t.Error(err)
	}
}

// changed returns what has changed, as text, and settles.
func changed(r *Roster) string {
	enter, update, leave := r.Changes()
	text := ""
	for _, m := range enter {
		text += "+" + m.ID + string(m.State)
	}
	for _, m := range update {
		text += "~" + m.ID + string(m.State)
	}
	for _, d := range leave {
		text += "-" + d.ID + " " + string(d.Why)
	}
	r.Settle()
	return text
}

// A member's life, in the order of what its clients do.
func TestRoster(t *testing.T) {
	r := new(Roster)
	first := r.Hold("ann", "Ann", "c1", []byte(`1`))
	steps := []struct {
		name string
		do   func()
		want string
		here int
	}{
		{"she comes", func() {}, "+ann1", 1},
		{"a second tab shows nothing", func() { r.Hold("ann", "Ann", "c2", nil) }, "", 1},
		{"the first one shows something else", func() { r.Show(first, []byte(`2`)) }, "~ann2", 1},
		{"it is cut", func() { r.Release(first, Timeout, after(10)) }, "", 1},
		{"it comes back in time", func() { first = r.Hold("ann", "Ann", "c1", nil) }, "", 1},
		{"its time is over, which does not matter", func() { r.Expire(after(20), 9) }, "", 1},
		{"it leaves", func() { r.Release(first, Left, time.Time{}) }, "-ann left", 1},
		{"a poll shows something", func() { r.Renew("bob", "", "c3", []byte(`3`), after(40)) }, "+bob3", 2},
		{"it comes again, for a shorter time", func() { r.Renew("bob", "", "c3", nil, after(30)) }, "", 2},
		{"that is over", func() { r.Expire(after(35), 9) }, "", 2},
		{"and the longer one", func() { r.Expire(after(40), 9) }, "-bob timeout", 1},
		{"somebody comes and goes between two frames", func() {
			r.Renew("eve", "", "c4", []byte(`4`), after(50))
			r.Withdraw("eve", "c4")
		}, "-eve left", 1},
		{"a lease that is refused at once", func() { r.Renew("mal", "", "c5", []byte(`5`), time.Time{}) }, "", 1},
	}
	for _, step := range steps {
		step.do()
		if got := changed(r); got != step.want {
			t.Errorf("%s: %q, want %q", step.name, got, step.want)
		}
		if n := r.Len(); n != step.here {
			t.Errorf("%s: %d are there, want %d", step.name, n, step.here)
		}
		check(t, r)
	}
	r.Count(2, false)
	if r.Len() != 3 || r.Changed() {
		t.Errorf("%d are there, changed: %t", r.Len(), r.Changed())
	}
	if r.Count(-1, true); r.Len() != 2 || !r.Changed() {
		t.Errorf("%d are there, changed: %t", r.Len(), r.Changed())
	}
}

// A session that ends after its roster was emptied changes nothing.
func TestLeaseOfAnEmptiedRoster(t *testing.T) {
	r := new(Roster)
	l := r.Hold("ann", "", "c", []byte(`1`))
	*r = Roster{}
	r.Show(l, []byte(`2`))
	r.Release(l, Left, time.Time{})
	if r.Len() != 0 || r.Changed() || r.Bytes() != 0 {
		t.Errorf("%d are there, changed: %t, %d bytes", r.Len(), r.Changed(), r.Bytes())
	}
}

// The end of one lease looks at no more of the others than a heap does.
func TestLeasesEndByHeap(t *testing.T) {
	r := strangers(1000)
	all := slices.Clone(r.ending)
	// They were added in their order. The element that takes the first one's place
	// moves down along each first child.
	looked := map[int]bool{0: true, len(all) - 1: true}
	for i := 1; i < len(all); i = 2*i + 1 {
		looked[i], looked[i+1] = true, true
	}
	for i := range r.ending {
		if !looked[i] {
			r.ending[i] = nil // a look at it panics
		}
	}
	r.Expire(after(1), 9)
	if end, _ := r.NextEnd(); len(r.ending) != len(all)-1 || r.ending[0] != all[1] || !end.Equal(after(2)) {
		t.Errorf("%d leases are left of %d, the next one ends at %v", len(r.ending), len(all), end)
	}
}

// Many that leave at once go in pieces, and leave no large maps.
func TestManyEndInPieces(t *testing.T) {
	r := strangers(2561)
	for pieces := 1; r.Expire(after(2560), 256); pieces++ {
		if r.Members() != 2561-pieces*256 {
			t.Fatalf("%d are left after %d pieces", r.Members(), pieces)
		}
	}
	if r.Members() != 1 || r.most > 2560/8 {
		t.Errorf("%d are left, in a map for %d", r.Members(), r.most)
	}
	check(t, r)
}

// Where many connections are one user's, none of the others is looked at when one comes,
// shows a state, or goes.
func TestConnectionsOfOneUser(t *testing.T) {
	r := guests(1000)
	m := r.members["guest"]
	clear(m.leases[:998]) // a look at one of them panics
	l := r.Hold("guest", "", "999", []byte(`2`))
	if got := string(m.state); got != "2" {
		t.Errorf("the state is %s", got)
	}
	r.Release(l, Left, time.Time{})
	if got := string(m.state); got != "1" || len(m.leases) != 999 {
		t.Errorf("the state is %s, with %d leases", got, len(m.leases))
	}
}

// After any arrivals and departures a member has the right leases, and shows the state
// that was shown last.
func TestMemberConverges(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	r := new(Roster)
	var conns []string // in the order in which they showed a state
	for step := range 5000 {
		conn := fmt.Sprint(rnd.IntN(40))
		at := slices.Index(conns, conn)
		if at >= 0 {
			conns = slices.Delete(conns, at, at+1)
		}
		if goes := rnd.IntN(100) < step/50; at >= 0 && goes {
			r.Withdraw("guest", conn)
		} else {
			r.Renew("guest", "", conn, []byte(conn), after(3600))
			conns = append(conns, conn)
		}
		switch m := r.members["guest"]; {
		case (m == nil) != (len(conns) == 0):
			t.Fatalf("step %d: %+v with %d connections", step, m, len(conns))
		case m != nil && (string(m.state) != conns[len(conns)-1] || len(m.leases) != len(conns)):
			t.Fatalf("step %d: %s is shown, with %d leases, not %s", step, m.state, len(m.leases), conns[len(conns)-1])
		}
		check(t, r)
	}
}
