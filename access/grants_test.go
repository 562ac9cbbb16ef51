package access_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

// parseGrants parses grants like "publish show on chat/* dm/1".
func parseGrants(t *testing.T, lines ...string) (grants []access.Grant) {
	t.Helper()
	for _, line := range lines {
		words, patterns, _ := strings.Cut(line, " on ")
		verbs, rest, err := access.ParseVerbs("", strings.Fields(words))
		if err != nil || len(rest) > 0 {
			t.Fatalf("%q: %v %v", line, rest, err)
		}
		grants = append(grants, access.Grant{Verbs: verbs, Patterns: strings.Fields(patterns)})
	}
	return grants
}

func newGrants(t *testing.T, user string, within *access.Grants, lines ...string) *access.Grants {
	t.Helper()
	g, err := access.NewGrants(user, parseGrants(t, lines...), within)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// mayDo lists the verbs that a principal may use in a room.
func mayDo(rules *access.Rules, p access.Principal, room string) string {
	var may []string
	for _, v := range everyVerb() {
		if rules.Allow(p, v, room) {
			may = append(may, v.String())
		}
	}
	return strings.Join(may, " ")
}

func TestGrants(t *testing.T) {
	closed := newRules(t, "allow all granted")
	ceiling := newGrants(t, "", nil, "subscribe publish on chat/*", "all on dm/{user}/*")
	for _, test := range []struct {
		what, user, room, want string
		within                 *access.Grants
		grants                 []string
	}{
		{"nothing", "ann", "chat/1", "", nil, nil},
		{"a pattern", "ann", "chat/1", "subscribe publish create", nil, []string{"subscribe publish on chat/*"}},
		{"another room", "ann", "news", "", nil, []string{"subscribe publish on chat/*"}},
		{"publish alone", "ann", "chat/1", "publish create", nil, []string{"publish on chat/1"}},
		{"history needs subscribe", "ann", "chat/1", "", nil, []string{"history members show on *"}},
		{"below the ceiling", "ann", "chat/1", "subscribe publish create", ceiling, []string{"all moderate on *"}},
		{"outside of the ceiling", "ann", "news", "", ceiling, []string{"all moderate on *"}},
		{"their own room", "ann", "dm/ann/1", every + " create", ceiling, []string{"all on *"}},
		{"somebody's room", "ann", "dm/ben/1", "", ceiling, []string{"all on *"}},
		{"nobody's room", "", "dm/ann/1", "", ceiling, []string{"all on *"}},
		{"moderate brings more", "ann", "a", "subscribe history members moderate create", nil, []string{"moderate on a"}},
		{"reserved", "ann", "-/audit", "", nil, []string{"subscribe on *", "subscribe on -/audit"}},
	} {
		p := access.Principal{User: test.user, Grants: newGrants(t, test.user, test.within, test.grants...)}
		if got := mayDo(closed, p, test.room); got != test.want {
			t.Errorf("%s: %q may %s in %s, want %s", test.what, test.user, got, test.room, test.want)
		}
	}
}

func TestNobodyBindsGrants(t *testing.T) {
	rules := newRules(t, "allow subscribe users", "allow publish signal nobody", "room open: allow publish anyone")
	p := access.Principal{User: "ann", Grants: newGrants(t, "ann", nil, "all on *")}
	if got := mayDo(rules, p, "a"); strings.Contains(got, "publish") || strings.Contains(got, "signal") {
		t.Errorf("where publish is nobody's, a grant lets %s", got)
	}
	if !rules.Allow(p, hub.VerbPublish, "open") {
		t.Error("a more specific pattern does not open publish")
	}
}

func TestBackends(t *testing.T) {
	rules := newRules(t, "allow all user ann", "room frozen: allow publish nobody", "room made: allow create user ann")
	backend := func(lines ...string) access.Principal {
		g, err := access.Backend(parseGrants(t, lines...))
		if err != nil {
			t.Fatal(err)
		}
		return access.Principal{User: "~bphp", Grants: g}
	}
	for _, test := range []struct{ grants, room, want string }{
		{"all on *", "a", every + " create"},
		{"all on *", "-/audit", ""},
		{"subscribe on -/audit", "-/audit", "subscribe create"},
		{"publish on chat/*", "a", ""},
		{"publish on chat/*", "chat/1", "publish create"},
		{"all on *", "frozen", strings.Replace(every, " publish", "", 1) + " create"},
		{"publish on frozen", "frozen", "publish create"},
		{"publish on made", "made", "publish"},
		{"publish create on made", "made", "publish create"},
	} {
		if got := mayDo(rules, backend(test.grants), test.room); got != test.want {
			t.Errorf("a backend with %q may %s in %s, want %s", test.grants, got, test.room, test.want)
		}
	}
	if got := mayDo(newRules(t), access.Principal{User: "~bphp"}, "a"); got != "" {
		t.Errorf("a backend without grants may %s", got)
	}
}

func TestKindsOfUsers(t *testing.T) {
	rules := newRules(t, "allow publish guests", "room users: allow publish users", "room own/{user}: allow publish owner")
	for _, test := range []struct{ user, room, want string }{
		{"", "a", "no"},
		{"~gx", "a", "yes"},
		{"ann", "a", "yes"},
		{"~lx", "a", "no"},
		{"~a0", "a", "no"},
		{"~gx", "users", "no"},
		{"ann", "users", "yes"},
		{"~gx", "own/%7Egx", "yes"},
		{"~gx", "own/~gx", "no"},
		{"~gy", "own/%7Egx", "no"},
	} {
		got := map[bool]string{false: "no", true: "yes"}[rules.Allow(access.Principal{User: test.user}, hub.VerbPublish, test.room)]
		if got != test.want {
			t.Errorf("%q in %s: %s, want %s", test.user, test.room, got, test.want)
		}
	}
}

func TestModerate(t *testing.T) {
	rules := newRules(t, "allow moderate user mod", "room staff/*: allow all user ann", "room off: allow subscribe nobody")
	for _, test := range []struct{ user, room, want string }{
		{"mod", "a", every + " moderate create"},
		{"ann", "a", every + " create"},
		{"mod", "staff/1", "subscribe history members moderate create"},
		{"ann", "staff/1", every + " create"},
		{"mod", "off", "moderate"},
	} {
		if got := mayDo(rules, access.Principal{User: test.user}, test.room); got != test.want {
			t.Errorf("%s may %s in %s, want %s", test.user, got, test.room, test.want)
		}
	}
}

func TestInvalidGrants(t *testing.T) {
	for want, g := range map[string]access.Grant{
		"a grant needs":         {Patterns: []string{"a"}},
		`room pattern "":`:      {Verbs: []hub.Verb{hub.VerbPublish}, Patterns: []string{""}},
		`room pattern "a*b": o`: {Verbs: []hub.Verb{hub.VerbPublish}, Patterns: []string{"a*b"}},
	} {
		if _, err := access.NewGrants("", []access.Grant{g}, nil); err == nil || !strings.HasPrefix(fmt.Sprint(err), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
