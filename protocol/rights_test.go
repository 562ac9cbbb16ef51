package protocol_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
)

// verbs returns the set of the verbs.
func verbs(all ...hub.Verb) (set hub.Verbs) {
	for _, v := range all {
		set |= 1 << v
	}
	return set
}

func TestCan(t *testing.T) {
	for _, test := range []struct {
		can  hub.Verbs
		mode settings.PresenceMode
		want string
	}{
		{hub.AllVerbs, settings.PresenceOn, "publish signal history presence"},
		{hub.AllVerbs, settings.PresenceCount, "publish signal history presence"},
		{hub.AllVerbs, settings.PresenceOff, "publish signal history"},
		{0, settings.PresenceOn, ""},
		{verbs(hub.VerbSubscribe), settings.PresenceOn, ""},
		{verbs(hub.VerbMembers), settings.PresenceOn, "members"},
		{verbs(hub.VerbShow, hub.VerbSignal), settings.PresenceOn, "signal show"},
	} {
		if got := strings.Join(protocol.Can(hub.Rights{Can: test.can, Presence: test.mode}), " "); got != test.want {
			t.Errorf("%b, presence %v: %q, want %q", test.can, test.mode, got, test.want)
		}
	}
}

func TestChange(t *testing.T) {
	for want, c := range map[string]hub.Change{
		`{"op":"left","room":"a\"b","status":403,"title":"not allowed any more"}`:          {Rights: hub.Rights{Room: `a"b`, Left: hub.CauseForbidden}},
		`{"op":"left","room":"r","status":404,"title":"the room does not exist any more"}`: {Rights: hub.Rights{Room: "r", Left: hub.CauseNoRoom}},
		`{"op":"can","room":"r","can":[]}`:                                                 {Rights: hub.Rights{Room: "r", Can: verbs(hub.VerbSubscribe)}},
		`{"op":"can","room":"r","can":["history","members"]}`:                              {Rights: hub.Rights{Room: "r", Can: verbs(hub.VerbSubscribe, hub.VerbHistory, hub.VerbMembers)}},
		`{"op":"can","room":"r","can":["moderate"]}`:                                       {Rights: hub.Rights{Room: "r", Can: verbs(hub.VerbSubscribe, hub.VerbModerate)}},
		`{"op":"auth","expires_ms":60000}`:                                                 {Expires: time.Minute},
	} {
		got := protocol.Change(c)
		if string(got) != want || protocol.OpOf(got) != strings.Split(want, `"`)[3] {
			t.Errorf("%s, op %q; want %s", got, protocol.OpOf(got), want)
		}
	}
	for _, other := range []string{"", "x", `{"ref":1}`} {
		if op := protocol.OpOf([]byte(other)); op != "" {
			t.Errorf("%q has the op %q", other, op)
		}
	}
}

// A page and an opening say what a client may do only if that is less than everything.
func TestRightsOfAConnection(t *testing.T) {
	all, some := hub.Rights{Room: "a", Can: hub.AllVerbs}, hub.Rights{Room: "a", Can: verbs(hub.VerbSubscribe, hub.VerbPublish)}
	for _, test := range []struct {
		name string
		json string
		want string // empty: no can
	}{
		{"ready", string((&protocol.Opening{}).Ready()), ""},
		{"ready with all", string((&protocol.Opening{Rights: &all}).Ready()), ""},
		{"ready with less", string((&protocol.Opening{Rights: &some}).Ready()), `,"can":["publish"]}`},
		{"page", pageOf(&protocol.Page{Rooms: []string{"a"}}), ""},
		{"page with all", pageOf(&protocol.Page{Rooms: []string{"a"}, Rights: []hub.Rights{all}}), ""},
		{"page with less", pageOf(&protocol.Page{Rooms: []string{"a"}, Rights: []hub.Rights{some}}), `,"can":["publish"],`},
		{"pages with all", pageOf(&protocol.Page{Rooms: []string{"a", "b"}, Several: true, Rights: []hub.Rights{all, all}}), ""},
		{"pages with less", pageOf(&protocol.Page{Rooms: []string{"a", "b", "c"}, Several: true, Rights: []hub.Rights{some, all, {Room: "c", Can: some.Can}}}), `,"can":{"a":["publish"],"c":["publish"]},`},
	} {
		if !strings.Contains(test.json, test.want) || test.want == "" && strings.Contains(test.json, "can") {
			t.Errorf("%s: %s, want %s", test.name, test.json, test.want)
		}
	}
}

func pageOf(p *protocol.Page) string {
	return string(slices.Concat(slices.Collect(p.Parts)...))
}
