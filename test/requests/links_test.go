package requests

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// A link gives the rights that it should, wherever it stands in a request, and none beyond.
func TestLinks(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	ann := tokenOf(t, "ann", time.Hour, map[string]any{"realtime": map[string]any{"publish": []string{"chat/*", "frozen"}, "all": []string{"chat/1", "other"}}})
	board := linkOf(t, s, link.Link{Room: "board/1", Verbs: []string{"subscribe", "publish"}})
	wide := linkOf(t, s, link.Link{Pattern: "*", Verbs: []string{"subscribe", "publish", "history", "members"}})
	for _, test := range []asked{
		{"a link", "POST", "board/1?link=" + board, nil, 201},
		{"a link in a header", "POST", "board/1", []string{"Realtime-Link: " + board}, 201},
		{"another room than the link's", "POST", "board/2?link=" + board, nil, 403},
		{"another verb than the link's", "GET", "board/1?last=3&link=" + board, nil, 403},
		{"a link beyond its ceiling", "POST", "chat/1?link=" + wide, nil, 403},
		{"a verb beyond its ceiling", "GET", "board/1?members&link=" + wide, nil, 403},
		{"a wide link within its ceiling", "GET", "board/7?last=3&link=" + wide, nil, 200},
		{"a link beside a token", "POST", "board/1?link=" + board, []string{bearer(ann)}, 201},
		{"a token beside a link", "POST", "chat/1?link=" + board, []string{bearer(ann)}, 201},
		{"an altered link", "POST", "open/1?link=" + board[:len(board)-3] + "AAA", nil, 403},
		{"half a link", "POST", "open/1?link=" + board[:len(board)/2], nil, 403},
		{"a link of another host", "POST", "open/1?link=" + linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, Host: "example.com"}), nil, 403},
		{"a link of another hub", "POST", "open/1?link=" + linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, Hub: "two"}), nil, 403},
	} {
		test.check(t, s)
	}
}

// A link says more about somebody than a guest's cookie, above all a name.
func TestLinkBesideAGuest(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	const own = "Sec-Fetch-Site: same-origin"
	guest := s.Do("POST", "/rt/guests", "hi", own).Cookies()[0]
	cookie := "Cookie: " + guest.Name + "=" + guest.Value
	l := "Realtime-Link: " + linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"publish"}, Name: "Invited", ID: "jti-2"})
	for i, headers := range [][]string{{l, own}, {l, own, cookie}} {
		resp := s.Do("POST", "/rt/open/"+strconv.Itoa(i), "hi", headers...)
		_ = resp.Body.Close()
		if page := caddytest.ReadAll(t, s.Do("GET", "/rt/open/"+strconv.Itoa(i)+"?last=1", "")); !strings.Contains(page, `"from":{"id":"~ljti-2","name":"Invited"}`) || len(resp.Cookies()) > 0 {
			t.Errorf("%q publishes as %s, and gets %v", headers, page, resp.Cookies())
		}
	}
}

// A link that may be used a few times counts what opens or publishes, and not what looks.
func TestUsesOfALink(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	l := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"subscribe", "publish", "history"}, Uses: 2})
	for i, want := range []int{200, 200, 201, 200, 201, 403, 200} {
		method := "GET"
		if i == 2 || i == 4 || i == 5 {
			method = "POST"
		}
		if got := ask(s, method, "lobby?link="+l, "hi"); got != want {
			t.Errorf("use %d, a %s: %d, want %d", i, method, got, want)
		}
	}
	s.Reload(credentialed("sha256:" + strings.Repeat("1", 64)))
	if got := ask(s, "POST", "lobby?link="+l, "hi"); got != 403 {
		t.Errorf("after a reload: %d, want 403", got)
	}
}

// A browser that opens a link is sent to the clean URL, with a cookie that opens the room.
func TestLinkInAMail(t *testing.T) {
	s := caddytest.Start(t, credentialed("sha256:"+strings.Repeat("0", 64)))
	l := linkOf(t, s, link.Link{Room: "lobby", Verbs: []string{"subscribe", "history"}})
	resp := s.Do("GET", "/rt/lobby?x=1&link="+l, "", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Accept: text/html,*/*;q=0.8")
	_ = resp.Body.Close()
	if resp.StatusCode != 303 || resp.Header.Get("Location") != "/rt/lobby?x=1" || resp.Header.Get("Referrer-Policy") != "no-referrer" || len(resp.Cookies()) != 1 {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	c := resp.Cookies()[0]
	if !c.HttpOnly || c.Path != "/rt/" || c.SameSite != http.SameSiteLaxMode {
		t.Errorf("the cookie is %+v", c)
	}
	cookie := "Cookie: " + c.Name + "=" + c.Value
	if got := ask(s, "GET", "lobby?last=3", "", cookie); got != 200 {
		t.Errorf("with the cookie: %d", got)
	}
	if got := ask(s, "GET", "lobby?last=3", ""); got != 401 {
		t.Errorf("without the cookie: %d", got)
	}
	const opened = "Sec-Fetch-Mode: navigate"
	if got := ask(s, "GET", "lobby?last=3", "", cookie, opened, "Sec-Fetch-Site: cross-site"); got != 200 {
		t.Errorf("opened from another site with the cookie: %d", got)
	}
	if got := ask(s, "GET", "lobby?last=3&anonymous", "", cookie, opened); got != 401 {
		t.Errorf("opened as anonymous with the cookie: %d", got)
	}
	encoded := s.Do("GET", "/rt/lobby?%6Cink="+l+"&x=1", "", opened)
	_ = encoded.Body.Close()
	if encoded.StatusCode != 303 || encoded.Header.Get("Location") != "/rt/lobby?x=1" {
		t.Errorf("with an encoded parameter: %s %v", encoded.Status, encoded.Header)
	}
	if got := ask(s, "POST", "open/1", "hi", "Cookie: "+c.Name+"=v1.x.y.z"); got != 201 {
		t.Errorf("a bad cookie is none: %d", got)
	}
}

// A link adds nothing to a backend, which has its own block alone: else it would open what is nobody's.
func TestLinkBesideAKey(t *testing.T) {
	key, hash := backend.Generate()
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room frozen {\nallow all nobody\n}\nbackend shop "+hash+" {\nallow publish on shop/*\n}\nlinks \""+linkSecret+"\" {\nrooms *\nverbs subscribe publish\n}\n}")
	for room, status := range map[string]int{"shop/1": 201, "lobby": 403, "frozen": 403} {
		l := linkOf(t, s, link.Link{Room: room, Verbs: []string{"publish"}})
		if got := ask(s, "POST", room, "hi", bearer(key), "Realtime-Link: "+l); got != status {
			t.Errorf("%s: %d, want %d", room, got, status)
		}
	}
	if got := ask(s, "POST", "shop/1", "hi", bearer(key), "Realtime-Link: v1.x.y.z"); got != 403 {
		t.Errorf("a bad link: %d", got)
	}
}
