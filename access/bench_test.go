package access_test

import (
	"fmt"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// usual is what a site may have; many has a hundred patterns more.
func usual() []string {
	return []string{
		"allow publish users", "room lobby: allow publish anyone", "room news/*: allow publish @0", "room dm/{user}/*: allow subscribe owner",
		"room staff/*: allow subscribe @0", "room staff/*: allow subscribe user ann", "room box: allow subscribe @1", "room box: allow publish anyone",
	}
}

func many() []string {
	lines := usual()
	for i := range 100 {
		lines = append(lines, fmt.Sprintf("room tenant-%d/*: allow subscribe publish @%d", i, i%64))
	}
	return lines
}

var questions = []struct {
	name string
	p    access.Principal
	verb hub.Verb
	room string
}{
	{"exact", access.Principal{}, hub.VerbPublish, "lobby"},
	{"owner", access.Principal{User: "ann@example.com"}, hub.VerbPublish, "dm/ann%40example%2Ecom/1"},
	{"listed", access.Principal{User: "ann"}, hub.VerbSubscribe, "staff/plans"},
	{"hub", access.Principal{User: "ann"}, hub.VerbSignal, "some/other/room"},
}

func BenchmarkDecide(b *testing.B) {
	for _, set := range []struct {
		name  string
		lines []string
	}{{"none", nil}, {"usual", usual()}, {"many", many()}} {
		rules := newRules(b, set.lines...)
		for _, q := range questions {
			b.Run(set.name+"/"+q.name, func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					rules.Allow(q.p, q.verb, q.room)
				}
			})
		}
	}
}

func TestDecideAllocatesNothing(t *testing.T) {
	rules := newRules(t, many()...)
	for _, q := range questions {
		if !rules.Allow(q.p, q.verb, q.room) {
			t.Errorf("%s is refused", q.name)
		}
		if n := testing.AllocsPerRun(100, func() { rules.Allow(q.p, q.verb, q.room) }); n != 0 {
			t.Errorf("%s: %v allocations", q.name, n)
		}
	}
}
