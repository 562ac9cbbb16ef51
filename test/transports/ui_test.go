package transports

import (
	"crypto/sha256"
	"encoding/base64"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestUIPage(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"ui on\n}")
	for _, test := range []struct {
		name, target string
		title, log   string // log: what the frame shows, as the browser takes it
	}{
		{"room", "/rt/lobby", "lobby", "/rt/lobby?log&last=50"},
		{"room in folders", "/rt/a/b/c?since=e.1", "a/b/c", "/rt/a/b/c?log&last=50"},
		{"escaped slash", "/rt/a%2Fb", "a/b", "/rt/a%2Fb?log&last=50"},
		{"room by query", "/rt/?room=a%26b%2Bc%20d/e", "a&amp;b&#43;c d/e", "/rt/?room=a%26b%2Bc+d%2Fe&log&last=50"},
		{"letter case", "/RT/lobby", "lobby", "/RT/lobby?log&last=50"},
		{"markup", "/rt/%3C%2Ftitle%3E%3Cscript%3Ealert(1)%3C%2Fscript%3E%22", "&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&#34;", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.Do("GET", test.target, "", caddytest.Browser)
			body := caddytest.ReadAll(t, resp)
			if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/HTML; charset=utf-8" ||
				resp.Header.Get("Cache-Control") != "private, no-store, no-transform" || resp.Header.Get("Vary") != "Accept, Authorization, Cookie, Origin, Prefer, Sec-WebSocket-Protocol" {
				t.Fatalf("%s %v\n%s", resp.Status, resp.Header, body)
			}
			checkPolicy(t, resp.Header.Get("Content-Security-Policy"), body)
			if !strings.Contains(body, "<title>"+test.title+"</title>") {
				t.Errorf("title is not %s in\n%s", test.title, body)
			}
			if n := strings.Count(body, "<script"); n != 1 {
				t.Errorf("%d scripts in\n%s", n, body)
			}
			page, err := url.Parse(s.URL + test.target)
			if err != nil {
				t.Fatal(err)
			}
			script := page.ResolveReference(link(t, body, `<script type="module" src="([^"]+)"`))
			if got := s.Do("GET", script.Path, ""); got.StatusCode != http.StatusOK || !strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
				t.Errorf("script %s: %s", script, got.Status)
			}
			if src := page.ResolveReference(link(t, body, `<realtime-chat src="([^"]+)"`)); !strings.EqualFold(src.RequestURI(), "/rt/") {
				t.Errorf("the element's hub is %s", src)
			}
			if log := page.ResolveReference(link(t, body, `<iframe src="([^"]+)"`)); test.log != "" && log.RequestURI() != test.log {
				t.Errorf("the frame shows %s, want %s", log.RequestURI(), test.log)
			}
			postForm(t, s, page, page.ResolveReference(link(t, body, `<form method="post" action="([^"]+)"`)))
		})
	}
}

// postForm posts the page's form, and checks that it arrives in the page's room.
func postForm(t *testing.T, s *caddytest.Site, page, action *url.URL) {
	t.Helper()
	posted := s.Do("POST", action.RequestURI(), "text=a%0D%0Ab&name=+Ann%20%3C3+", caddytest.Browser,
		"Content-Type: application/x-www-form-urlencoded", "Referer: "+page.String(), "Origin: "+s.URL)
	if posted.StatusCode != http.StatusSeeOther || posted.Header.Get("Location") != page.RequestURI() {
		t.Errorf("posting: %s to %q", posted.Status, posted.Header.Get("Location"))
	}
	read := *page
	q := url.Values{"last": {"1"}}
	if room := page.Query().Get("room"); room != "" {
		q.Set("room", room)
	}
	read.RawQuery = q.Encode()
	var got struct{ Messages []caddytest.Envelope }
	caddytest.Decode(t, caddytest.ReadAll(t, s.Do("GET", read.RequestURI(), "")), &got)
	if want := `{"text":"a\nb","name":"Ann <3"}`; len(got.Messages) != 1 || string(got.Messages[0].Data) != want {
		t.Errorf("published %+v, want %s", got.Messages, want)
	}
}

func link(t *testing.T, body, pattern string) *url.URL {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("no %s in\n%s", pattern, body)
	}
	u, err := url.Parse(html.UnescapeString(m[1]))
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// checkPolicy looks whether the policy lets the document's own style sheet in,
// and nothing else inline.
func checkPolicy(t *testing.T, policy, body string) {
	t.Helper()
	style := regexp.MustCompile(`(?s)<style>(.*?)</style>`).FindStringSubmatch(body)
	if style == nil {
		t.Fatalf("no style sheet in\n%s", body)
	}
	sum := sha256.Sum256([]byte(style[1]))
	if !strings.Contains(policy, "style-src 'sha256-"+base64.StdEncoding.EncodeToString(sum[:])+"';") {
		t.Errorf("policy %q does not let in the style sheet", policy)
	}
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'self'") {
		t.Errorf("policy %q", policy)
	}
}

func TestUILog(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"ui on\n}")
	s.Post("lobby", "before <b>")
	resp := s.Do("GET", "/rt/lobby?log&last=50", "", caddytest.Browser)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/HTML; charset=utf-8" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	log := caddytest.NewLines(t, resp)
	checkPolicy(t, resp.Header.Get("Content-Security-Policy"), log.Next()+"</style>")
	if got := log.Until("<article>"); !strings.Contains(got, ">before &lt;b&gt;</p>") {
		t.Errorf("it begins with %s", got)
	}
	s.Post("lobby", `{"text":"live","name":"Ann"}`, "Content-Type: application/json")
	if got := log.Until("<article>"); !strings.Contains(got, "<bdi>Ann</bdi>") || !strings.Contains(got, ">live</p>") {
		t.Errorf("it goes on with %s", got)
	}
	if got := s.Do("GET", "/rt/lobby?log&last=many", "", caddytest.Browser); got.StatusCode != http.StatusBadRequest {
		t.Errorf("last=many: %s", got.Status)
	}
	if got := s.Do("GET", "/rt/lobby?log&before=e.1", "", caddytest.Browser); got.StatusCode != http.StatusBadRequest {
		t.Errorf("before: %s", got.Status)
	}
}

// At a reload the log stays, or the browser has to come back.
func TestUILogInEveryVersionOfHTTP(t *testing.T) {
	for proto, c := range caddytest.Clients(t) {
		t.Run(proto, func(t *testing.T) {
			s := caddytest.StartTLS(t, "realtime {\n"+caddytest.Open+"ui on\n}")
			room := strings.NewReplacer("/", "", ".", "").Replace(proto)
			log := caddytest.NewLines(t, s.Fetch(c, proto, "GET", room+"?log", "", caddytest.Browser))
			log.Until("<!doctype html>")
			publish := func(text string) {
				s.Fetch(c, proto, "POST", room, text)
				if got := log.Until("<article>"); !strings.Contains(got, ">"+text+"</p>") {
					t.Errorf("got %s, want %s", got, text)
				}
			}
			publish("one")
			s.ReloadTLS("realtime {\n" + caddytest.Open + "ui on\nheartbeat 20s\n}\nheader X-Round " + room)
			if proto == "HTTP/1.1" {
				c.CloseIdleConnections() // the old server is closing them
				publish("two")
				return
			}
			if rest := log.Rest(); len(rest) == 0 || !strings.HasPrefix(rest[len(rest)-1], `<meta http-equiv="refresh"`) {
				t.Errorf("at a reload it ends with %q", rest)
			}
		})
	}
}

func TestUIRefusesForeignOrigins(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"ui on\n}")
	for _, target := range []string{"lobby", "lobby?log"} {
		caddytest.Refused(t, s.Do("GET", "/rt/"+target, "", caddytest.Browser, "Origin: https://evil.example"), 403, "origin")
	}
	form := s.Do("POST", "/rt/lobby", "text=x&name=y", caddytest.Browser, "Content-Type: application/x-www-form-urlencoded", "Sec-Fetch-Site: cross-site")
	caddytest.Refused(t, form, 403, "another site")
}

// Browsers get the page; other clients get what they got before.
func TestUINegotiation(t *testing.T) {
	const problem = "application/problem+json"
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"ui on\n}")
	check := func(s *caddytest.Site, method, target, accept string, status int, contentType string) {
		t.Helper()
		resp := s.Do(method, "/rt/"+target, "", "Accept: "+accept)
		if got := resp.Header.Get("Content-Type"); resp.StatusCode != status || got != contentType {
			t.Errorf("%s %s, Accept %q: %s %s, want %d %s", method, target, accept, resp.Status, got, status, contentType)
		}
	}
	const page = "text/HTML; charset=utf-8"
	accepted := strings.TrimPrefix(caddytest.Browser, "Accept: ")
	check(s, "GET", "lobby", accepted, 200, page)
	check(s, "GET", "lobby", "text/html", 200, page)
	check(s, "GET", "lobby", "text/*", 200, "text/event-stream")
	check(s, "GET", "lobby", "*/*", 200, "application/json")
	check(s, "GET", "lobby?log", "*/*", 200, "application/json")
	check(s, "GET", "lobby", "application/json, text/html", 200, "application/json")
	check(s, "GET", "lobby", "text/html;q=0, */*", 200, "application/json")
	check(s, "GET", "lobby", "image/png", 406, problem)
	check(s, "HEAD", "lobby", accepted, 200, "application/json")
	check(s, "GET", "", accepted, 400, problem)
	check(s, "GET", "a//b", accepted, 400, problem)
	s.Dial("lobby", caddytest.Browser)

	s.Reload("realtime {\n" + caddytest.Open + "}")
	check(s, "GET", "lobby", accepted, 200, "application/json")
	check(s, "GET", "lobby?log", accepted, 200, "application/json")
	check(s, "GET", "lobby", "text/html", 406, problem)
}

// A prefix that was stripped is not known to us, and known to the browser.
func TestUIBehindHandlePath(t *testing.T) {
	s := caddytest.Start(t, "handle_path /chat/* {\nrealtime {\nprefix /\nui on\n}\n}")
	body := caddytest.ReadAll(t, s.Do("GET", "/chat/a/b", "", caddytest.Browser))
	page, _ := url.Parse("/chat/a/b")
	script := page.ResolveReference(link(t, body, `<script type="module" src="([^"]+)"`))
	if got := s.Do("GET", script.Path, ""); got.StatusCode != http.StatusOK || !strings.HasPrefix(script.Path, "/chat/-/") {
		t.Errorf("script %s: %s", script, got.Status)
	}
	if src := page.ResolveReference(link(t, body, `<realtime-chat src="([^"]+)"`)); src.Path != "/chat/" {
		t.Errorf("the element's hub is %s", src)
	}
}
