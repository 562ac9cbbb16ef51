package access_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

func TestPatterns(t *testing.T) {
	for _, good := range []string{
		"", "a", "*", "a*", "a/*", "a/b*", "-*", "-", "a/..*", "日本*", "{user}", "{user}/*", "a/{user}", "a/{user}/b", "a/{user}/b*", "a/{user}/..*",
		"-/a", "-/*", "-/{user}", "-/{user}/*", "-/-/a", "a%2Fb", strings.Repeat("x", 199) + "*", strings.Repeat("x", 198) + "/{user}",
	} {
		if _, err := access.New([]access.Rule{rule(good, access.Anyone)}); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
	for bad, want := range map[string]string{
		"**": "one *", "a*b": "one *", "*/a": "one *", "*{user}": "one *",
		"{user}*": "whole segment", "a{user}": "whole segment", "a/{user}b/*": "whole segment", "{User}": "whole segment", "{": "whole segment",
		"a/}": "whole segment", "{{user}}": "whole segment", "{user}{user}": "whole segment",
		"{user}/{user}": "once",
		"/":             "empty segment", "/*": "empty segment", "a/": "empty segment", "a//*": "empty segment", "-/": "empty segment", "{user}/": "empty segment",
		"../*": "segment", "a/./*": "segment", "-/../a": "segment", "\x00*": "control", "\xff*": "UTF-8", strings.Repeat("x", 201): "201 bytes",
	} {
		_, err := access.New([]access.Rule{rule(bad, access.Anyone)})
		if err == nil || !strings.Contains(err.Error(), "room pattern ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want one about %q", bad, err, want)
		}
	}
	if _, err := access.New([]access.Rule{rule("a//b", access.Anyone)}); !errors.Is(err, names.ErrRoom) {
		t.Errorf("%v, want %v", err, names.ErrRoom)
	}
}

func rule(pattern string, kind access.Kind) access.Rule {
	return access.Rule{Pattern: pattern, Verbs: []hub.Verb{hub.VerbPublish}, Who: access.Who{Kind: kind}}
}

func TestConflicts(t *testing.T) {
	for _, test := range []struct {
		lines []string
		want  string // the error; empty: none
	}{
		// Equally specific, and about the same room.
		{
			[]string{"room a/{user}/b: allow publish users", "room a/b/{user}: allow publish users"},
			"room a/{user}/b: allow publish: a/b/{user} is just as specific and may match the same room",
		},
		{
			[]string{"room a/{user}/b*: allow publish users", "room a/{user}/b: allow publish users"},
			"room a/{user}/b*: allow publish: a/{user}/b is just as specific and may match the same room",
		},
		{[]string{"room a/{user}/b: allow publish users", "room a/b/{user}: allow subscribe users"}, ""},
		{[]string{"room a/{user}/b: allow publish users", "room c/a/{user}: allow publish users"}, ""},
		{[]string{"room {user}/x: allow publish users", "room -/{user}: allow publish users"}, ""},
		{[]string{"room a/{user}: allow publish users", "room b/{user}: allow publish users"}, ""},

		// The hub's own lines are those of *.
		{[]string{"room *: allow publish users", "allow publish users"}, "room *: allow publish: already specified for all rooms, outside of the room blocks"},
		{[]string{"room *: allow publish users", "allow subscribe users"}, ""},

		// A pattern that never decides.
		{
			[]string{"room dm/{user}: allow publish owner", "room dm/*: allow presence publish users"},
			"room dm/{user}: allow publish: never applies, since dm/* is more specific and matches the same rooms",
		},
		{
			[]string{"room {user}: allow publish owner", "allow publish users"},
			"room {user}: allow publish: never applies, since * is more specific and matches the same rooms",
		},
		{[]string{"room dm/{user}: allow publish owner", "room dm/*: allow subscribe users"}, ""},
		{[]string{"room dm/{user}/*: allow publish owner", "room dm/*: allow publish users"}, ""},
		{[]string{"room dm/{user}: allow publish owner", "room dm*: allow publish users"}, ""},

		// Nobody is alone.
		{[]string{"room a: allow publish nobody", "room a: allow all users"}, "room a: allow publish: nobody cannot be combined with others"},
		{[]string{"allow publish anyone", "allow signal publish nobody"}, "allow publish: nobody cannot be combined with others"},
		{[]string{"room a: allow publish nobody", "room a: allow publish nobody", "room a: allow signal users", "allow publish users"}, ""},

		// An owner needs {user}.
		{[]string{"room a/*: allow publish owner"}, "room a/*: allow publish: owner needs a room pattern with {user}"},
		{[]string{"allow show owner"}, "allow show: owner needs a room pattern with {user}"},

		{[]string{"room a: allow show user"}, "room a: allow show: user needs at least one id"},
		{[]string{"room a: allow show somebody"}, "room a: allow show: unknown kind 0 of callers"},
	} {
		_, err := access.New(parseAll(t, test.lines))
		if err == nil && test.want != "" || err != nil && err.Error() != test.want {
			t.Errorf("%q:\n  %v, want\n  %s", test.lines, err, test.want)
		}
	}
}

func TestInvalidRules(t *testing.T) {
	for want, r := range map[string]access.Rule{
		"room a: allow: no verb specified":                            {Pattern: "a", Who: access.Who{Kind: access.Anyone}},
		"allow: unknown verb 8":                                       {Verbs: []hub.Verb{hub.VerbCreate + 1}, Who: access.Who{Kind: access.Anyone}},
		"allow publish: unknown kind 9 of callers":                    rule("", access.Fact+1),
		`allow publish: user "": bad user: the id is empty`:           {Verbs: []hub.Verb{hub.VerbPublish}, Who: access.Who{Kind: access.Named, IDs: []string{"a", ""}}},
		`allow publish: user "~gx": bad user: the id begins with ~`:   {Verbs: []hub.Verb{hub.VerbPublish}, Who: access.Who{Kind: access.Named, IDs: []string{"~gx"}}},
		"allow publish: the id of a fact must not be empty":           {Verbs: []hub.Verb{hub.VerbPublish}, Who: access.Who{Kind: access.Fact}},
		`room pattern "a*b": only one * is allowed, at the end`:       rule("a*b", access.Anyone),
		`room pattern "{user}/{user}": {user} is only allowed once`:   rule("{user}/{user}", access.Owner),
		`room pattern "a/": bad room name: it has an empty segment (`: rule("a/", access.Anyone),
	} {
		if _, err := access.New([]access.Rule{r}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
