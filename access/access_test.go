package access_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// parse makes a rule of a line as a Caddyfile could have it: "allow publish users", or
// "room dm/*: allow all user ann". A fact is written like @3.
func parse(t testing.TB, line string) access.Rule {
	t.Helper()
	var r access.Rule
	if room, ok := strings.CutPrefix(line, "room "); ok {
		r.Pattern, line, _ = strings.Cut(room, ": ")
	}
	verbs, who, err := access.ParseVerbs(r.Pattern, strings.Fields(strings.TrimPrefix(line, "allow ")))
	if err != nil || len(verbs) == 0 || len(who) == 0 {
		t.Fatalf("%q: verbs %v, who %v, error %v", line, verbs, who, err)
	}
	r.Verbs = verbs
	kinds := map[string]access.Kind{
		"anyone": access.Anyone, "nobody": access.Nobody, "granted": access.Granted, "guests": access.Guests,
		"users": access.Users, "user": access.Named, "owner": access.Owner,
	}
	if bit, ok := strings.CutPrefix(who[0], "@"); ok {
		n, err := strconv.Atoi(bit)
		if err != nil {
			t.Fatal(err)
		}
		r.Who = access.Who{Kind: access.Fact, Fact: fmt.Sprint(n)}
	} else {
		r.Who = access.Who{Kind: kinds[who[0]], IDs: who[1:]}
	}
	return r
}

func parseAll(t testing.TB, lines []string) []access.Rule {
	t.Helper()
	var rules []access.Rule
	for _, line := range lines {
		rules = append(rules, parse(t, line))
	}
	return rules
}

func newRules(t testing.TB, lines ...string) *access.Rules {
	t.Helper()
	r, err := access.New(parseAll(t, lines))
	if err != nil {
		t.Fatalf("%q: %v", lines, err)
	}
	return r
}

func verbs() (all []hub.Verb) {
	for v := hub.VerbSubscribe; v <= hub.VerbShow; v++ {
		all = append(all, v)
	}
	return all
}

const every = "subscribe publish signal history members show"

// decisions has the rules by their numbers. A question is "caller room: verbs", with all verbs
// that the caller has in that room. The caller "-" is anonymous, "ann@3" has fact 3.
var decisions = []struct {
	rule      string
	lines     []string
	questions []string
}{
	{"no rules", nil, []string{"- a: " + every, "ann a/b: " + every}},
	{
		"3: presence is members and show, all the six verbs",
		[]string{"room a: allow presence users", "room b: allow all users"},
		[]string{"- a: subscribe publish signal history", "ann a: " + every, "- b:", "ann b: " + every},
	},
	{
		"4: an exact name, then more literal bytes, then the one without {user}",
		[]string{
			"room ab: allow publish user ann", "room ab*: allow publish user ben", "room a*: allow publish user cem",
			"room x/{user}/*: allow publish user ann", "room x/b*: allow publish user ben", "room x/*: allow publish user cem",
		},
		[]string{
			"ann ab: " + every, "ben ab: subscribe history members show", "ben abc: " + every, "ben ab/c: " + every,
			"ann abc: subscribe history members show", "cem a: " + every, "cem ac: " + every, "ben ac: subscribe history members show",
			"ben x/b/1: " + every, "ann x/b/1: subscribe history members show", "ann x/a/1: " + every, "cem x/c: " + every,
			"ann b: " + every,
		},
	},
	{
		"4: a star matches slashes, too, and may match nothing",
		[]string{"room a/*: allow all nobody", "room b*: allow all nobody"},
		[]string{"ann a: " + every, "ann a/b:", "ann a/b/c:", "ann b:", "ann bb/c:", "ann c/a/b: " + every},
	},
	{
		"5: a pattern without a line on the verb does not decide on it",
		[]string{"allow publish users", "room a/*: allow history user ann", "room a/b: allow show user ben"},
		[]string{
			"- a/b: subscribe members", "cem a/b: subscribe publish signal members", "ben a/b: subscribe publish signal members show",
			"ann a/b: subscribe publish signal history members", "ben a/c: subscribe publish signal members show",
		},
	},
	{
		"5: lines on one verb add up, and no less specific ones",
		[]string{
			"allow publish user dan", "room a: allow publish user ann ben", "room a: allow publish @3", "room a: allow publish @63",
			"room a: allow publish user cem",
		},
		[]string{
			"ann a: " + every, "ben a: " + every, "cem a: " + every, "-@3 a: " + every, "-@63 a: " + every,
			"-@4 a: subscribe history members show", "dan a: subscribe history members show", "dan b: " + every,
		},
	},
	{
		"6: {user} is any one whole segment, and those who do not own it do not fall through",
		[]string{"allow all anyone", "room dm/{user}/*: allow subscribe owner", "room dm/{user}/pub: allow all users"},
		[]string{
			"ann dm/ann/1: " + every, "ann dm/ann/1/2: " + every, "ben dm/ann/1:", "- dm/ann/1:", "- dm/-/1:", "ann dm/%61nn/1:", "ann dm/ann.x/1:",
			"ann dm/an/n/1:", "ann dm: " + every, "- dm/ann: " + every, "- dn/ann/1: " + every, "ben dm/ann/pub: " + every, "- dm/ann/pub:",
			"ben dm/ann/pub/2:",
		},
	},
	{
		"7: a segment is the escaped id, by bytes",
		[]string{"room {user}: allow all owner"},
		[]string{
			"a.b a%2Eb: " + every, "a.b a.b:", "a%2Eb a%2Eb:", "a%2Eb a%252Eb: " + every, "a/b a%2Fb: " + every, "a/b a%2fb:",
			"a/b a/b: " + every, // another room, with no owner
			"* %2A: " + every, "é %C3%A9: " + every, "é é:", "Ann Ann: " + every, "Ann ann:", "an ann:", "ann an:", "- a:",
			"_-9Z _-9Z: " + every, ". %2E: " + every, "a% a%25: " + every, "a% a%:", "a%2 a%2:",
		},
	},
	{
		"8: who may not subscribe may do nothing else",
		[]string{"room a/*: allow subscribe users"},
		[]string{"- a/b:", "ann a/b: " + every, "- a: " + every},
	},
	{
		"8: a line as specific frees publish, and signal with it, but not what reads the room",
		[]string{"room box/*: allow subscribe user ann", "room box/*: allow publish anyone", "room box/*: allow presence anyone", "room box/*: allow history anyone"},
		[]string{"- box/1: publish signal", "ann box/1: " + every},
	},
	{
		"8: a line less specific does not",
		[]string{"allow publish anyone", "room a: allow subscribe user ann", "room b*: allow signal anyone", "room b: allow subscribe user ann"},
		[]string{"- a:", "ann a: " + every, "- b:", "ben bc: " + every},
	},
	{
		"8: a line more specific does",
		[]string{"allow subscribe user ann", "room a: allow publish users", "room b: allow signal users"},
		[]string{"ben a: publish signal", "ann a: " + every, "- a:", "ben b: signal", "- b:", "ann b: " + every},
	},
	{
		"8: signal follows publish where no line is about it",
		[]string{"room a: allow publish users", "room b: allow publish users", "room b: allow signal anyone", "room c: allow publish anyone", "room c: allow signal nobody"},
		[]string{"- a: subscribe history members show", "- b: subscribe signal history members show", "- c: subscribe publish history members show"},
	},
	{
		"11: nobody closes a verb, also to less specific patterns, but not to more specific ones",
		[]string{"allow all users", "room a/*: allow publish nobody", "room a/b/*: allow publish user ann", "room c: allow subscribe nobody"},
		[]string{
			"ann a/x: subscribe signal history members show", "ann a/b/x: " + every, "ben a/b/x: subscribe signal history members show",
			"ann c:",
		},
	},
	{
		"13: only patterns that begin with -/ reach such rooms, and what no line is about is nobody's",
		[]string{
			"allow all anyone", "room -*: allow all anyone", "room {user}/*: allow all anyone", "room -/log: allow subscribe @1", "room -/in: allow publish anyone",
			"room -/u/{user}: allow subscribe publish owner", "room -/v/*: allow subscribe history user ann",
		},
		[]string{
			"- -/x:", "- -/log:", "-@1 -/log: subscribe", "- -/in: publish signal", "ann -/u/ann: subscribe publish signal", "ben -/u/ann:",
			"ann -/v/a/b: subscribe history", "ann -x: " + every, "ann -: " + every, "ann a/-/log: " + every,
		},
	},
	{
		"16: names are compared by bytes, neither decoded nor folded",
		[]string{"room Ab/*: allow all nobody", "room c%2Fd: allow all nobody", "room é*: allow all nobody"},
		[]string{"- Ab/c:", "- ab/c: " + every, "- c%2Fd:", "- c/d: " + every, "- c%2fd: " + every, "- éa:", "- e\u0301a: " + every},
	},
}

func TestDecide(t *testing.T) {
	for _, test := range decisions {
		t.Run(test.rule, func(t *testing.T) {
			rules := newRules(t, test.lines...)
			for _, q := range test.questions {
				who, verbs, _ := strings.Cut(q, ":")
				who, room, _ := strings.Cut(who, " ")
				if got, want := may(t, rules, who, room), strings.TrimSpace(verbs); got != want {
					t.Errorf("%s may in %s: %q, want %q", who, room, got, want)
				}
			}
		})
	}
}

// may returns the verbs that the caller has in the room.
func may(t *testing.T, rules *access.Rules, who, room string) string {
	t.Helper()
	var p access.Principal
	user, fact, has := strings.Cut(who, "@")
	if user != "-" {
		p.User = user
	}
	if has {
		n, err := strconv.Atoi(fact)
		if err != nil {
			t.Fatal(err)
		}
		p.Facts = &hub.Facts{IDs: []string{fmt.Sprint(n)}}
	}
	var may []string
	for _, v := range verbs() {
		ok := rules.Allow(p, v, room)
		if ok {
			may = append(may, v.String())
		}
		if e := rules.Explain(p, v, room); e.Allowed != ok {
			t.Errorf("%s in %s: decided %v, and explained %v", v, room, ok, e)
		}
	}
	return strings.Join(may, " ")
}

func TestUnknownVerb(t *testing.T) {
	for _, v := range []hub.Verb{hub.VerbCreate + 1, 255} {
		if newRules(t, "allow all anyone").Allow(access.Principal{User: "ann"}, v, "a") {
			t.Errorf("verb %d is anyone's", v)
		}
		if v.String() != "unknown" {
			t.Errorf("verb %d is called %s", v, v)
		}
	}
}

func TestExplain(t *testing.T) {
	rules := newRules(
		t, "allow history users", "room dm/{user}/*: allow subscribe owner", "room dm/{user}/*: allow subscribe user ben",
		"room box: allow publish @5", "room *: allow show nobody",
	)
	for _, test := range []struct {
		user string
		verb hub.Verb
		room string
		want string // allowed, verb, pattern, kinds of who
	}{
		{"ann", hub.VerbSubscribe, "dm/ann/1", "true subscribe dm/{user}/* [7 6]"},
		{"", hub.VerbSubscribe, "dm/ann/1", "false subscribe dm/{user}/* [7 6]"},
		{"", hub.VerbPublish, "dm/ann/1", "false subscribe dm/{user}/* [7 6]"},
		{"ann", hub.VerbPublish, "dm/ann/1", "true publish  []"},
		{"ann", hub.VerbHistory, "dm/ann/1", "true history  [5]"},
		{"cem", hub.VerbHistory, "dm/ann/1", "false subscribe dm/{user}/* [7 6]"},
		{"", hub.VerbHistory, "dm/ann/1", "false history  [5]"},
		{"ann", hub.VerbSignal, "box", "false publish box [8]"},
		{"ann", hub.VerbSignal, "a", "true publish  []"},
		{"ann", hub.VerbShow, "a", "false show * [2]"},
		{"ann", hub.VerbSubscribe, "-/a", "false subscribe  []"},
	} {
		d := rules.Explain(access.Principal{User: test.user}, test.verb, test.room)
		var kinds []string
		for _, w := range d.Who {
			kinds = append(kinds, strconv.Itoa(int(w.Kind)))
		}
		got := strings.Join([]string{strconv.FormatBool(d.Allowed), d.Verb.String(), d.Pattern, "[" + strings.Join(kinds, " ") + "]"}, " ")
		if got != test.want {
			t.Errorf("%q %s in %s: %s, want %s", test.user, test.verb, test.room, got, test.want)
		}
	}
}

func TestParseVerbs(t *testing.T) {
	for _, test := range []struct{ pattern, words, want, rest string }{
		{"", "publish users", "publish", "users"},
		{"", "show subscribe", "show subscribe", ""},
		{"a", "presence signal history user publish", "members show signal history", "user publish"},
		{"", "all @staff", "subscribe publish signal history members show", "@staff"},
		{"-x", "all", "subscribe publish signal history members show", ""},
		{"-/x", "presence publish", "members show publish", ""},
		{"", "Publish", "", "Publish"},
		{"", "unknown", "", "unknown"},
		{"", "", "", ""},
	} {
		got, rest, err := access.ParseVerbs(test.pattern, strings.Fields(test.words))
		var words []string
		for _, v := range got {
			words = append(words, v.String())
		}
		if err != nil || !slices.Equal(words, strings.Fields(test.want)) || !slices.Equal(rest, strings.Fields(test.rest)) {
			t.Errorf("%q: %v, %v, %v", test.words, words, rest, err)
		}
	}
	for _, test := range []struct{ pattern, words, want string }{
		{"", "publish publish users", "publish already specified"},
		{"", "presence members", "members already specified"},
		{"", "show all", "show already specified"},
		{"-/x", "all users", "all does not include"},
	} {
		if verbs, _, err := access.ParseVerbs(test.pattern, strings.Fields(test.words)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, %v", test.words, verbs, err)
		}
	}
}

func TestEscapeID(t *testing.T) {
	for id, want := range map[string]string{
		"ann": "ann", "A-z_09": "A-z_09", "a.b": "a%2Eb", "..": "%2E%2E", "a/b": "a%2Fb", "%41": "%2541", "*": "%2A", "{user}": "%7Buser%7D",
		"a b": "a%20b", "é": "%C3%A9", "\xff\x00": "%FF%00", "": "",
	} {
		if got := access.EscapeID(id); got != want {
			t.Errorf("%q: %q, want %q", id, got, want)
		}
	}
}
