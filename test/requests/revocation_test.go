package requests

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// revoke sends a revocation to Caddy's admin API.
func revoke(t *testing.T, s *caddytest.Site, body string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Admin+"/realtime/revoke", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := caddytest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if answer := caddytest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %s %s", body, resp.Status, answer)
	}
}

// guestOf returns the id of a new guest, and the header with its cookie.
func guestOf(t *testing.T, s *caddytest.Site) (id, cookie string) {
	t.Helper()
	resp := s.Do("POST", "/rt/guests", "hi", "Sec-Fetch-Site: same-origin")
	if resp.StatusCode != http.StatusCreated || len(resp.Cookies()) != 1 {
		t.Fatalf("a guest gets %s, cookies %v", resp.Status, resp.Cookies())
	}
	var from struct{ ID string }
	if err := json.Unmarshal(s.Page("guests?last=1", "Sec-Fetch-Site: same-origin", "Cookie: "+resp.Cookies()[0].String()).Messages[0].From, &from); err != nil {
		t.Fatal(err)
	}
	return from.ID, "Cookie: " + resp.Cookies()[0].Name + "=" + resp.Cookies()[0].Value
}

// keyID returns the id of a backend's key.
func keyID(key string) string { return strings.Split(key, "_")[1] }

// revocation is the body of a request to revoke, and what comes of it.
type revocation struct {
	name, body        string
	revoked, unharmed string // headers
	status            int    // of the next attempt
	title             string
}

// check revokes while two clients are connected in rooms of their own, and tries again.
func (r revocation) check(t *testing.T, s *caddytest.Site, room, watch string) {
	t.Helper()
	other := room + "-other"
	revoked, unharmed := connect(t, s, room, watch, r.revoked), connect(t, s, other, watch, r.unharmed)
	began := time.Now()
	revoke(t, s, r.body)
	revoked.ended(t)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s to end all connections", took)
	}
	for _, again := range []struct {
		method, query string
		headers       []string
	}{
		{"GET", "?last=1", nil},
		{"GET", "?wait=5", nil},
		{"GET", "", []string{"Accept: text/event-stream"}},
		{"GET", "", []string{"Accept: application/x-ndjson"}},
		{"GET", "", upgrade},
		{"POST", "", nil},
	} {
		resp := s.Do(again.method, "/rt/"+room+again.query, "hi", append([]string{r.revoked}, again.headers...)...)
		caddytest.Refused(t, resp, r.status, r.title)
	}
	unharmed.goOn(t, s, other, watch)
	if got := ask(s, "POST", other, "hi", r.unharmed); got != http.StatusCreated {
		t.Errorf("another one gets %d", got)
	}
}

// What is revoked ends on every transport, and is refused from then on; nobody else notices.
func TestRevocation(t *testing.T) {
	shop, shopHash := backend.Generate()
	till, tillHash := backend.Generate()
	watch, watchHash := backend.Generate()
	s := caddytest.StartAdministered(t, `realtime {
	`+caddytest.Open+`
	allow subscribe publish history guests
	allow subscribe publish history granted
	jwt {
		secret "`+jwtSecret+`"
	}
	backend shop `+shopHash+`
	backend till `+tillHash+`
	backend watch `+watchHash+`
	links "`+linkSecret+`" {
		rooms board/*
		verbs subscribe publish history
	}
	guests
}`)
	s.Within = 20 * time.Second
	token := func(user, jti, iss string) string {
		return bearer(tokenOf(t, user, time.Hour, map[string]any{"jti": jti, "iss": iss}))
	}
	signed := func(id string) string {
		return linkOf(t, s, link.Link{Pattern: "board/*", Verbs: []string{"subscribe", "publish", "history"}, ID: id})
	}
	guest, guestCookie := guestOf(t, s)
	_, otherGuest := guestOf(t, s)
	linkKey, err := link.NewKey(linkSecret)
	if err != nil {
		t.Fatal(err)
	}
	for i, test := range []revocation{
		{"a token", `{"token":"t1"}`, token("tom", "t1", ""), token("tom", "t2", ""), 401, "revoked"},
		{"a user", `{"user":"ann"}`, token("ann", "a1", ""), token("anne", "a2", ""), 401, "revoked"},
		{"an issuer", `{"issuer":"https://a"}`, token("ida", "", "https://a"), token("ida", "", "https://b"), 401, "revoked"},
		{"a link", `{"link":"l1"}`, "Realtime-Link: " + signed("l1"), "Realtime-Link: " + signed("l2"), 403, "link revoked"},
		{"a link in a cookie", `{"link":"l3"}`, "Cookie: realtime-link=" + signed("l3"), "Cookie: realtime-link=" + signed("l4"), 401, "not signed in"},
		{"a link as a user", `{"user":"~ll5"}`, "Realtime-Link: " + signed("l5"), "Realtime-Link: " + signed("l6"), 401, "revoked"},
		{"a guest", `{"user":"` + guest + `"}`, guestCookie, otherGuest, 401, "revoked"},
		{"a backend's key", `{"key":"` + keyID(shop) + `"}`, bearer(shop), bearer(till), 401, "revoked"},
		{"a backend", `{"user":"~btill"}`, bearer(till), bearer(watch), 401, "revoked"},
		{"all links of a key", `{"key":"` + linkKey.ID() + `"}`, "Realtime-Link: " + signed("l7"), token("tom", "t3", ""), 403, "link revoked"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.check(t, s.In(t), fmt.Sprintf("board/%d", i), bearer(watch))
		})
	}
}

// A token that was issued after the revocation of its user is good, also beside a link, which does not
// say when it was issued.
func TestSigningInAfterARevocation(t *testing.T) {
	s := caddytest.StartAdministered(t, `realtime {
	`+caddytest.Open+`
	allow publish users
	jwt {
		secret "`+jwtSecret+`"
	}
	links "`+linkSecret+`" {
		rooms board
		verbs publish
	}
}`)
	now := time.Now()
	revoke(t, s, `{"user":"ann","before":"`+now.Add(-time.Minute).Format(time.RFC3339)+`"}`)
	before := tokenOf(t, "ann", time.Hour, map[string]any{"iat": now.Add(-time.Minute).Unix()})
	after := tokenOf(t, "ann", time.Hour, map[string]any{"iat": now.Add(-50 * time.Second).Unix()})
	shared := "Realtime-Link: " + linkOf(t, s, link.Link{Room: "board", Verbs: []string{"publish"}})
	for name, test := range map[string]struct {
		headers []string
		status  int
	}{
		"issued before":               {[]string{bearer(before)}, 401},
		"issued before, with a link":  {[]string{bearer(before), shared}, 401},
		"issued later":                {[]string{bearer(after)}, 201},
		"issued later, with a link":   {[]string{bearer(after), shared}, 201},
		"the link without the user":   {[]string{shared}, 201},
		"in a subprotocol, before":    {append([]string{offer(before)}, upgrade...), 401},
		"in a subprotocol, and later": {append([]string{offer(after)}, upgrade...), 101},
	} {
		method := "POST"
		if len(test.headers) > 2 {
			method = "GET"
		}
		if got := ask(s, method, "board", "hi", test.headers...); got != test.status {
			t.Errorf("%s: %d, want %d", name, got, test.status)
		}
	}
}

// Revocations outlive a reload.
func TestRevocationAfterAReload(t *testing.T) {
	const site = "realtime {\n" + caddytest.Open + "allow publish users\njwt {\nsecret \"" + jwtSecret + "\"\n}\n"
	s := caddytest.StartAdministered(t, site+"}")
	ann := bearer(tokenOf(t, "ann", time.Hour, nil))
	revoke(t, s, `{"user":"ann"}`)
	s.Reload(site + "max_rooms 50\n}")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "hi", ann), 401, "revoked")
}
