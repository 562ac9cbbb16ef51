package realtime

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/access"
	"github.com/caddy-realtime/realtime/hub"
)

func TestFactID(t *testing.T) {
	for _, test := range []struct {
		match  string
		steady bool // the id is the same in another configuration
	}{
		{`{"header": {"X-Staff": ["yes"]}}`, true},
		{`{"remote_ip": {"ranges": ["10.0.0.0/8"]}, "path": ["/rt/*"]}`, true},
		{`{"not": [{"header": {"X-Staff": ["yes"]}}, {"method": ["GET"]}]}`, true},
		{`{"tls": {}}`, true},
		{`{"client_ip": {"ranges": ["10.0.0.0/8"]}}`, false},
		{`{"header": {"X-Staff": ["yes"]}, "client_ip": {"ranges": ["10.0.0.0/8"]}}`, false},
		{`{"vars": {"staff": ["yes"]}}`, false},
		{`{"vars_regexp": {"staff": {"pattern": "^y"}}}`, false},
		{`{"file": {"try_files": ["staff"]}}`, false},
		{`{"expression": "path('/rt/*')"}`, false},
		{`{"not": [{"header": {"X-Staff": ["yes"]}}, {"not": [{"client_ip": {"ranges": ["10.0.0.0/8"]}}]}]}`, false},
		{`{"header": {"X-Staff": ["{env.STAFF}"]}}`, false},
		{`{"header": {"{vars.header}": ["yes"]}}`, false},
		{`{"some_plugin": {}}`, false},
		{`{"not": 5}`, false},
	} {
		id := func(match, generation string) string {
			var set caddy.ModuleMap
			if err := json.Unmarshal([]byte(match), &set); err != nil {
				t.Fatal(err)
			}
			return factID(set, generation)
		}
		if got := id(test.match, "one") == id(test.match, "two"); got != test.steady {
			t.Errorf("%s: the same after a reload: %v", test.match, got)
		}
		if id(test.match, "one") != id(strings.ReplaceAll(test.match, " ", "\n"), "one") {
			t.Errorf("%s: spaces make a difference", test.match)
		}
		if id(test.match, "one") == id(`{"method": ["PUT"]}`, "one") || id(test.match, "one") == "" {
			t.Errorf("%s has the id of another, or none", test.match)
		}
	}
}

// headerMatcher matches requests with a header, and fails for those with the header Fail.
type headerMatcher string

func (m headerMatcher) MatchWithError(r *http.Request) (bool, error) {
	if r.Header.Get("Fail") != "" {
		return true, errors.New("failed on purpose")
	}
	return r.Header.Get(string(m)) != "", nil
}

func TestFacts(t *testing.T) {
	var log bytes.Buffer
	f := &facts{log: slog.New(slog.NewTextHandler(&log, nil)), known: make(map[string]*hub.Facts)}
	for _, name := range []string{"A", "B"} {
		f.matchers = append(f.matchers, &factMatcher{id: "fact-" + name, name: "@" + name, set: caddyhttp.MatcherSet{headerMatcher(name)}})
	}
	of := func(headers ...string) *hub.Facts {
		r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		for _, h := range headers {
			r.Header.Set(h, "1")
		}
		return f.of(r)
	}
	for _, test := range []struct{ headers, want []string }{
		{[]string{"A"}, []string{"fact-A"}},
		{[]string{"B"}, []string{"fact-B"}},
		{[]string{"B", "A", "C"}, []string{"fact-A", "fact-B"}},
	} {
		got := of(test.headers...)
		if got == nil || !slices.Equal(got.IDs, test.want) {
			t.Errorf("%q: %+v, want %q", test.headers, got, test.want)
		}
		if of(test.headers...) != got {
			t.Errorf("%q: equal facts are not shared", test.headers)
		}
	}
	if got := of(); got != nil {
		t.Errorf("without a match: %+v", got)
	}
	if got := (*facts)(nil).of(nil); got != nil {
		t.Errorf("without matchers: %+v", got)
	}
	for range 3 {
		if got := of("A", "Fail"); got != nil {
			t.Errorf("an error lets in: %+v", got)
		}
	}
	if n := strings.Count(log.String(), "failed on purpose"); n != 2 {
		t.Errorf("%d errors are logged, want one for each matcher: %s", n, &log)
	}
}

// What clients can make the handler remember is bounded.
func TestFactsAreBounded(t *testing.T) {
	f := &facts{known: make(map[string]*hub.Facts)}
	for i := range 16 {
		f.matchers = append(f.matchers, &factMatcher{id: fmt.Sprint(i)})
	}
	for bits := range 2 * maxKnown {
		matching := make([]byte, len(f.matchers))
		var want []string
		for i := range matching {
			if bits>>i&1 == 1 {
				matching[i] = 1
				want = append(want, fmt.Sprint(i))
			}
		}
		if got := f.share(matching); bits > 0 && !slices.Equal(got.IDs, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
	if len(f.known) > maxKnown {
		t.Errorf("%d sets are kept", len(f.known))
	}
}

// Provision asks each set of matchers once, however many lines name it.
func TestProvisionFacts(t *testing.T) {
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	defer cancel()
	staff := func() Allow {
		return Allow{Verbs: []string{"publish"}, Who: matcher, Name: "@staff", MatchRaw: caddy.ModuleMap{"header": json.RawMessage(`{"X-Staff":["yes"]}`)}}
	}
	h := Handler{Allow: []Allow{staff()}, Rooms: []Room{{Pattern: "a", Allow: []Allow{{Verbs: []string{"show"}, Who: "users"}, staff()}}}}
	f, err := h.provisionFacts(ctx, "one")
	if err != nil || len(f.matchers) != 1 {
		t.Fatalf("%+v, %v", f, err)
	}
	r := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
	r.Header.Set("X-Staff", "yes")
	r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
	rules, _, err := h.rights()
	if err != nil {
		t.Fatal(err)
	}
	for _, room := range []string{"a", "b"} {
		if !rules.Allow(access.Principal{Facts: f.of(r)}, hub.VerbPublish, room) || rules.Allow(access.Principal{}, hub.VerbPublish, room) {
			t.Errorf("room %s is not for staff alone", room)
		}
	}
	bad := Handler{Rooms: []Room{{Pattern: "a", Allow: []Allow{{Verbs: []string{"show"}, Who: matcher, MatchRaw: caddy.ModuleMap{"no_such": nil}}}}}}
	if _, err := bad.provisionFacts(ctx, "one"); err == nil || !strings.Contains(err.Error(), "room a: allow") || !strings.Contains(err.Error(), "no_such") {
		t.Errorf("an unknown matcher: %v", err)
	}
}
