package requests

import (
	"encoding/base64"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

const (
	jwtSecret  = "a secret of at least thirty-two bytes"
	linkSecret = "another secret of thirty-two bytes and more"
)

// tokenOf returns a token for a user that is good for so long; claims are added, or replaced.
func tokenOf(t *testing.T, user string, life time.Duration, claims map[string]any) string {
	t.Helper()
	now := time.Now()
	all := jwt.MapClaims{"sub": user, "iat": now.Unix(), "exp": now.Add(life).Unix()}
	maps.Copy(all, claims)
	text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, all).SignedString([]byte(jwtSecret))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func bearer(text string) string { return "Authorization: Bearer " + text }

// offer is a WebSocket's offer of subprotocols, with a token.
func offer(text string) string {
	return "Sec-WebSocket-Protocol: realtime.v1, bearer." + base64.RawURLEncoding.EncodeToString([]byte(text))
}

// linkOf returns a link to a room of the site, or to what it says otherwise.
func linkOf(t *testing.T, s *caddytest.Site, l link.Link) string {
	t.Helper()
	key, err := link.NewKey(linkSecret)
	if err != nil {
		t.Fatal(err)
	}
	if l.Host == "" {
		l.Host = "127.0.0.1"
	}
	if l.Expires.IsZero() {
		l.Expires = time.Now().Add(time.Hour)
	}
	text, err := key.Sign(l, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// credentialed is a site that takes all kinds of credentials. Rooms below open/ are everybody's.
func credentialed(hash string) string {
	return `realtime {
	` + caddytest.Open + `
	allow all granted
	allow publish claim roles writer
	room open/* {
		allow all anyone
	}
	room users {
		allow all users
	}
	room guests {
		allow all guests
	}
	room mine/{user} {
		allow all owner
	}
	room frozen {
		allow all nobody
	}
	jwt {
		secret "` + jwtSecret + `"
		grants subscribe publish history on chat/* private
		cookie session
		query_token on
	}
	backend shop ` + hash + ` {
		allow publish subscribe
		allow history on shop/*
	}
	links "` + linkSecret + `" {
		rooms board/* lobby
		verbs subscribe publish history
	}
	guests
	ui on
}`
}

// asked is a request with a credential, and the status of its answer.
type asked struct {
	name, method, target string
	headers              []string
	status               int
}

func (a asked) check(t *testing.T, s *caddytest.Site) {
	t.Helper()
	if got := ask(s, a.method, a.target, "hi", a.headers...); got != a.status {
		t.Errorf("%s: %d, want %d", a.name, got, a.status)
	}
}

// A token gives the rights that it should, wherever it stands in a request, and none beyond.
func TestTokens(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	ann := tokenOf(t, "ann", time.Hour, map[string]any{"realtime": map[string]any{"publish": []string{"chat/*", "frozen"}, "all": []string{"chat/1", "other"}}})
	writer := tokenOf(t, "wes", time.Hour, map[string]any{"roles": []string{"reader", "writer"}})
	for _, test := range []asked{
		{"nobody", "POST", "chat/1", nil, 401},
		{"token", "POST", "chat/1", []string{bearer(ann)}, 201},
		{"token in the query", "POST", "chat/1?access_token=" + ann, nil, 201},
		{"token in a cookie", "POST", "chat/1", []string{"Cookie: session=" + ann}, 201},
		{"token in a subprotocol", "GET", "chat/1", append([]string{offer(ann)}, upgrade...), 101},
		{"token in a subprotocol alone", "GET", "chat/1", append([]string{strings.Replace(offer(ann), "realtime.v1, ", "", 1)}, upgrade...), 400},
		{"a room of the claim alone", "POST", "other", []string{bearer(ann)}, 403},
		{"a room of the ceiling alone", "POST", "private", []string{bearer(ann)}, 403},
		{"a verb of the claim alone", "GET", "chat/1?members", []string{bearer(ann)}, 403},
		{"nobody's room", "POST", "frozen", []string{bearer(ann)}, 403},
		{"a room of users", "POST", "users", []string{bearer(ann)}, 201},
		{"her room", "POST", "mine/ann", []string{bearer(ann)}, 201},
		{"somebody's room", "POST", "mine/wes", []string{bearer(ann)}, 403},
		{"a claim", "POST", "news", []string{bearer(writer)}, 201},
		{"without the claim", "POST", "news", []string{bearer(ann)}, 403},
		{"a cookie of another site's page", "POST", "chat/1", []string{"Cookie: session=" + ann, "Sec-Fetch-Site: cross-site"}, 403},

		{"a bad token", "POST", "open/1", []string{bearer(ann[:len(ann)-4] + "AAAA")}, 401},
		{"a bad token in the query", "POST", "open/1?access_token=x.y.z", nil, 401},
		{"a bad token in a cookie is none", "POST", "open/1", []string{"Cookie: session=x.y.z"}, 201},
		{"two tokens", "POST", "chat/1?access_token=" + writer, []string{bearer(ann)}, 400},
		{"an expired token", "POST", "open/1", []string{bearer(tokenOf(t, "ann", -time.Hour, map[string]any{"iat": time.Now().Add(-2 * time.Hour).Unix()}))}, 401},
		{"a token of tomorrow", "POST", "open/1", []string{bearer(tokenOf(t, "ann", time.Hour, map[string]any{"nbf": time.Now().Add(time.Hour).Unix()}))}, 401},
		{"a guest's id in a token", "POST", "open/1", []string{bearer(tokenOf(t, "~gx", time.Hour, nil))}, 401},
		{"another kind of credential", "POST", "open/1", []string{"Authorization: Basic YW5uOnNlY3JldA=="}, 201},
	} {
		test.check(t, s)
	}
}

// A backend's key gives the rights of its block, and none beyond; a browser may not show it.
func TestBackendKeys(t *testing.T) {
	key, hash := backend.Generate()
	s := caddytest.Start(t, credentialed(hash))
	for _, test := range []asked{
		{"a key", "POST", "chat/1", []string{bearer(key)}, 201},
		{"a key in nobody's room", "POST", "frozen", []string{bearer(key)}, 403},
		{"a verb that the key lacks", "GET", "chat/1?last=3", []string{bearer(key)}, 403},
		{"a verb that it has elsewhere", "GET", "shop/1?last=3", []string{bearer(key)}, 200},
		{"a key with Origin", "POST", "open/1", []string{bearer(key), "Origin: " + s.URL}, 403},
		{"a key with Referer", "POST", "open/1", []string{bearer(key), "Referer: " + s.URL + "/"}, 403},
		{"a key with Sec-Fetch-Mode", "POST", "open/1", []string{bearer(key), "Sec-Fetch-Mode: cors"}, 403},
		{"a key of nobody", "POST", "open/1", []string{bearer(strings.Repeat("x", 8) + key[8:])}, 401},
	} {
		test.check(t, s)
	}
}

// Messages say who has published them, and what kind of user that is.
func TestFrom(t *testing.T) {
	key, hash := backend.Generate()
	s := caddytest.Start(t, credentialed(hash))
	token := tokenOf(t, "ann", time.Hour, map[string]any{"name": "Ann Archer", "realtime": map[string]any{"publish": []string{"*"}}})
	named := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, Name: "Guest of Ann", ID: "jti-1"})
	for _, test := range []struct {
		room   string
		header string
		want   string
	}{
		{"open/1", bearer(token), `"from":{"id":"ann","name":"Ann Archer"}`},
		{"open/2", bearer(key), `"from":{"id":"~bshop","backend":true}`},
		{"open/3", "Realtime-Link: " + named, `"from":{"id":"~ljti-1","name":"Guest of Ann"}`},
		{"open/4", "Sec-Fetch-Site: same-origin", `"from":{"id":"~g`},
	} {
		resp := s.Do("POST", "/rt/"+test.room, "hi", test.header)
		_ = resp.Body.Close()
		page := caddytest.ReadAll(t, s.Do("GET", "/rt/"+test.room+"?last=1", ""))
		if !strings.Contains(page, test.want) {
			t.Errorf("%s: %s, want %s", test.room, page, test.want)
		}
		if strings.Contains(test.want, "~g") && !strings.Contains(page, `,"guest":true}`) {
			t.Errorf("%s: %s has no guest", test.room, page)
		}
	}
}

// A guest is the same one again, by a cookie that the site's own pages get.
func TestGuests(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	const own = "Sec-Fetch-Site: same-origin"
	resp := s.Do("POST", "/rt/guests", "hi", own)
	_ = resp.Body.Close()
	cookies := resp.Cookies()
	if resp.StatusCode != 201 || len(cookies) != 1 {
		t.Fatalf("%s, cookies %v", resp.Status, cookies)
	}
	c := cookies[0]
	if c.Name != "realtime-guest" || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge < 1_000_000 {
		t.Errorf("the cookie is %+v", c)
	}
	cookie := "Cookie: " + c.Name + "=" + c.Value
	again := s.Do("POST", "/rt/guests", "again", cookie, own)
	_ = again.Body.Close()
	if again.StatusCode != 201 || len(again.Cookies()) != 0 {
		t.Errorf("with its cookie: %s, cookies %v", again.Status, again.Cookies())
	}
	page := s.Page("guests?last=2", cookie)
	if len(page.Messages) != 2 || len(page.Messages[0].From) == 0 || string(page.Messages[0].From) != string(page.Messages[1].From) {
		t.Errorf("not the same guest: %+v", page.Messages)
	}
	for name, headers := range map[string][]string{
		"a client that is no browser": nil,
		"another site's page":         {"Sec-Fetch-Site: cross-site"},
		"a forged cookie":             {"Cookie: realtime-guest=" + strings.Replace(c.Value, "g1.A", "g1.B", 1) + "x"},
		"with a name of HTTPS":        {"Cookie: __Host-realtime-guest=" + c.Value},
	} {
		if got := ask(s, "POST", "guests", "hi", headers...); got != 401 && got != 403 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if got := ask(s, "POST", "users", "hi", cookie, own); got != 401 {
		t.Errorf("a guest in a room of users: %d", got)
	}
}

// Bad credentials of one address are refused before they are looked at, once there are too many; those
// that were good before still are, and who shows none.
func TestFailedCredentials(t *testing.T) {
	key, hash := backend.Generate()
	for kind, bad := range map[string]func(s *caddytest.Site, i int) string{
		"token": func(_ *caddytest.Site, i int) string {
			token := tokenOf(t, "ann", time.Hour, map[string]any{"x": strconv.Itoa(i)})
			return bearer(token[:len(token)-6] + "AAAAAA")
		},
		"key": func(*caddytest.Site, int) string {
			other, _ := backend.Generate()
			return bearer(other)
		},
		"link": func(s *caddytest.Site, i int) string {
			l := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, ID: "x" + strconv.Itoa(i)})
			return "Realtime-Link: " + l[:len(l)-6] + "AAAAAA"
		},
	} {
		t.Run(kind, func(t *testing.T) {
			s, logged := caddytest.StartLogged(t, credentialed(hash))
			good := tokenOf(t, "ann", time.Hour, nil)
			if got := ask(s, "POST", "users", "hi", bearer(good)); got != 201 {
				t.Fatal(got)
			}
			count := make(map[int]int)
			for i := range 40 {
				count[ask(s, "POST", "users", "hi", bad(s, i))]++
			}
			if n := count[401] + count[403]; n < 20 || n > 30 || count[429]+n != 40 {
				t.Errorf("statuses %v", count)
			}
			for name, headers := range map[string][]string{"a token that was good before": {bearer(good)}, "a key": {bearer(key)}, "none": nil} {
				if got := ask(s, "POST", "open/1", "hi", headers...); got != 201 {
					t.Errorf("%s: %d", name, got)
				}
			}
			if lines := logged("a credential was refused; more from this address are not logged for a minute"); len(lines) != 1 {
				t.Errorf("%d lines about refused credentials: %v", len(lines), lines)
			}
		})
	}
}

// A thousand connections of one address, or of one user, are as many as the limit allows; the others
// are refused, and when those have gone others may come.
func TestThousandConnections(t *testing.T) {
	for name, test := range map[string]struct {
		options string
		headers []string
		want    int
	}{
		"address": {"rate off", nil, 200},
		"user":    {"rate off\nmax_connections_per_address off\nmax_connections_per_user 50", []string{bearer(tokenOf(t, "ann", time.Hour, nil))}, 50},
	} {
		t.Run(name, func(t *testing.T) {
			s := caddytest.Start(t, "realtime {\n"+test.options+"\njwt {\nsecret \""+jwtSecret+"\"\n}\n}")
			var open []*http.Response
			for range 1000 {
				resp := s.Do("GET", "/rt/lobby", "", append(test.headers, upgrade...)...)
				switch resp.StatusCode {
				case http.StatusSwitchingProtocols:
					open = append(open, resp)
				case http.StatusServiceUnavailable:
					if resp.Header.Get("Retry-After") == "" {
						t.Fatal("a refusal without Retry-After")
					}
				default:
					t.Fatal(resp.Status)
				}
			}
			if len(open) != test.want {
				t.Errorf("%d are open, want %d", len(open), test.want)
			}
			for _, resp := range open {
				_ = resp.Body.Close()
			}
			caddytest.Eventually(t, "others may come", func() bool { return ask(s, "GET", "lobby", "", append(test.headers, upgrade...)...) == 101 })
		})
	}
}

// No credential gets into the log, wherever it stands in a request; the request itself does.
func TestLogsHaveNoCredentials(t *testing.T) {
	key, hash := backend.Generate()
	s, logged := caddytest.StartLogged(t, "log\n"+credentialed(hash))
	token := tokenOf(t, "ann", time.Hour, map[string]any{"realtime": map[string]any{"all": []string{"chat/*"}}})
	l := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"subscribe", "publish", "history"}})
	forged := token[:len(token)-6] + "canary"
	for _, test := range []struct {
		target  string
		headers []string
	}{
		{"chat/1?access_token=" + token, nil},
		{"chat/1?access_token=" + forged, nil},
		{"chat/1", []string{bearer(token)}},
		{"chat/1", []string{bearer(forged)}},
		{"chat/1", []string{bearer(key)}},
		{"chat/1", []string{bearer(key[:len(key)-6] + "canary")}},
		{"chat/1", []string{"Cookie: session=" + token}},
		{"lobby?link=" + l, nil},
		{"lobby?link=" + l[:len(l)-6] + "canary", nil},
		{"lobby", []string{"Realtime-Link: " + l}},
		{"lobby?link=" + l, []string{"Sec-Fetch-Mode: navigate", caddytest.Browser}},
		{"lobby", []string{"Cookie: realtime-link=" + l}},
		{"chat/1", append([]string{offer(token)}, upgrade...)},
		{"chat/1", append([]string{offer(forged)}, upgrade...)},
	} {
		_ = ask(s, "GET", test.target, "", test.headers...)
	}
	const own, caddys = "handled request with a credential, which the access log leaves out", "handled request"
	caddytest.Eventually(t, "every request is logged", func() bool { return len(logged(own))+len(logged(caddys)) == 14 })
	if n := len(logged(own)); n != 8 {
		t.Errorf("%d requests have a line of our own", n)
	}
	text := logged.Text()
	for name, secret := range map[string]string{
		"a token": token[len(token)-20:], "a key": key[len(key)-20:], "a link": l[len(l)-20:], "what was forged": "canary",
		"a token in base64": strings.TrimPrefix(offer(token), "Sec-WebSocket-Protocol: realtime.v1, bearer.")[:80],
	} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is in the log", name)
		}
	}
}

// For a matcher about the user, guests, links and backends are nobody: whoever wrote it means people who
// have signed in. The access log knows them all.
func TestMatchersSeeWhoHasSignedIn(t *testing.T) {
	key, hash := backend.Generate()
	s, logged := caddytest.StartLogged(t, "log\n@somebody vars_regexp id {http.auth.user.id} .+\n"+strings.Replace(credentialed(hash), "allow all granted\n", "allow all granted\nroom somebody {\nallow all @somebody\n}\n", 1))
	l := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, ID: "jti-1"})
	for _, test := range []struct {
		header string
		status int
	}{
		{bearer(tokenOf(t, "ann", time.Hour, nil)), 201},
		{"Sec-Fetch-Site: same-origin", 401},
		{"Realtime-Link: " + l, 403},
		{bearer(key), 201}, // by its own rights
		{"X-Nothing: 1", 401},
	} {
		if got := ask(s, "POST", "somebody", "hi", test.header); got != test.status {
			t.Errorf("%s: %d, want %d", test.header, got, test.status)
		}
	}
	users := make(map[string]bool)
	lines := func() []map[string]any {
		return append(logged("handled request"), logged("handled request with a credential, which the access log leaves out")...)
	}
	caddytest.Eventually(t, "every request is logged", func() bool { return len(lines()) >= 5 })
	for _, line := range lines() {
		id, _ := line["user_id"].(string)
		users[id[:min(len(id), 2)]] = true
	}
	for _, id := range []string{"an", "~g", "~l", "~b", ""} {
		if !users[id] {
			t.Errorf("the access log has no %q, but %v", id, users)
		}
	}
}

// A token that a handler before realtime has taken is not a bad key.
func TestTokenOfAnotherHandler(t *testing.T) {
	_, hash := backend.Generate()
	s := caddytest.Start(t, "map {header.Authorization} {auth} {\n\"Bearer theirs\" ann\ndefault \"\"\n}\nrealtime {\n"+caddytest.Open+"user {auth} trusted\nallow all users\nbackend shop "+hash+"\n}")
	for token, status := range map[string]int{"theirs": 201, "nobody's": 401} {
		if got := ask(s, "POST", "lobby", "hi", bearer(token)); got != status {
			t.Errorf("%s: %d, want %d", token, got, status)
		}
	}
}
