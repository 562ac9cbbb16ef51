package access_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

// An id never leaves its segment, and no two ids share one.
func FuzzEscapeID(f *testing.F) {
	f.Add("ann", "ben")
	f.Add("a/b", "a%2Fb")
	f.Add("..", "%2E%2E")
	f.Add("a.", "a%2e/x")
	f.Add("*", "{user}")
	f.Add("\xff", "é")
	f.Add("-", "-/a")
	rules, err := access.New([]access.Rule{{Pattern: "dm/{user}/*", Verbs: []hub.Verb{hub.VerbSubscribe}, Who: access.Who{Kind: access.Owner}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, id, other string) {
		if id == "" || other == "" {
			return
		}
		segment := access.EscapeID(id)
		if back, err := url.PathUnescape(segment); err != nil || back != id {
			t.Errorf("%q became %q, which is %q, %v", id, segment, back, err)
		}
		if err := names.CheckRoom(segment); (err != nil || strings.ContainsAny(segment, "/*{}.")) && len(segment) <= names.MaxRoom {
			t.Errorf("%q became %q, which is not a segment: %v", id, segment, err)
		}
		caller := access.Principal{User: id}
		if room := "dm/" + segment + "/x"; !rules.Allow(caller, hub.VerbSubscribe, room) {
			t.Errorf("%q is not the owner of %q", id, room)
		}
		if room := "dm/" + access.EscapeID(other) + "/x"; rules.Allow(caller, hub.VerbSubscribe, room) != (id == other) {
			t.Errorf("%q owns %q", id, room)
		}
		room := "dm/" + other + "/x"
		first, _, _ := strings.Cut(other, "/")
		if names.CheckRoom(room) == nil && rules.Allow(caller, hub.VerbSubscribe, room) != (first == segment) {
			t.Errorf("%q and %q: %v", id, room, first == segment)
		}
	})
}

// A pattern that is accepted matches what it says, and its rule decides there and nowhere else.
func FuzzPattern(f *testing.F) {
	f.Add("a*", "ab")
	f.Add("", "a")
	f.Add("a/{user}/*", "a/b/c")
	f.Add("{user}", "-")
	f.Add("-/*", "-/x")
	f.Add("-*", "-/x")
	f.Add("a/{user}/..*", "a/b/..c")
	f.Add("a**", "a*")
	f.Fuzz(func(t *testing.T, pattern, room string) {
		rules, err := access.New([]access.Rule{rule(pattern, access.Nobody)})
		if err != nil {
			if !strings.HasPrefix(err.Error(), "room pattern ") || strings.ContainsAny(err.Error(), "\x00\r\n") {
				t.Errorf("%q: %q", pattern, err)
			}
			return
		}
		exact := pattern != "" && !strings.HasSuffix(pattern, "*") && !strings.Contains(pattern, "{user}")
		reserved := strings.HasPrefix(pattern, "-/")
		if exact && !reserved && names.CheckRoom(pattern) != nil {
			t.Errorf("%q passes, and no room can be called so", pattern)
		}
		if names.CheckRoom(strings.TrimPrefix(room, "-/")) != nil {
			return
		}
		want := compile(pattern).MatchString(room) && reserved == strings.HasPrefix(room, "-/")
		d := rules.Explain(access.Principal{User: "ann"}, hub.VerbPublish, room)
		if got := len(d.Who) > 0; got != want || want && (d.Allowed || d.Pattern != pattern) {
			t.Errorf("pattern %q, room %q: %+v, want a match: %v", pattern, room, d, want)
		}
	})
}
