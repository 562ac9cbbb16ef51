package requests

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestForeignOriginsAreRefused(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	const foreign = "Origin: https://evil.example"
	for _, headers := range [][]string{
		nil,
		{"Accept: text/event-stream"},
		{"Accept: application/x-ndjson"},
		{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="},
	} {
		resp := s.Do("GET", "/rt/lobby", "", append(headers, foreign)...)
		caddytest.Refused(t, resp, 403, "origin")
		if got := resp.Header.Get("Access-Control-Allow-Credentials"); got != "" {
			t.Errorf("a foreign origin may come with credentials: %q", got)
		}
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "x", foreign), 403, "origin")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "x", "Origin: null"), 403, "origin")
	s.Post("lobby", "own", "Origin: "+s.URL)
	if got := s.Page("lobby").Texts(); !slices.Equal(got, []string{"own"}) {
		t.Errorf("the room holds %q", got)
	}
	if _, _, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby", &websocket.DialOptions{HTTPHeader: http.Header{"Origin": {"https://evil.example"}}}); err == nil {
		t.Error("a foreign page got a WebSocket")
	}
}

func TestListedOriginsMayReadAndWrite(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"origins https://*.example.com\n}")
	const listed = "Origin: https://app.example.com"
	resp := s.Do("OPTIONS", "/rt/lobby", "", listed, "Access-Control-Request-Method: POST")
	if resp.StatusCode != http.StatusNoContent {
		t.Errorf("preflight: %s", resp.Status)
	}
	for header, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://app.example.com", "Access-Control-Allow-Credentials": "true",
		"Access-Control-Allow-Methods": "GET, HEAD, POST, OPTIONS",
	} {
		if got := resp.Header.Get(header); got != want {
			t.Errorf("%s is %q, want %q", header, got, want)
		}
	}
	for _, header := range []string{"Idempotency-Key", "TTL", "Realtime-Event", "Prefer", "If-None-Match"} {
		if !strings.Contains(resp.Header.Get("Access-Control-Allow-Headers"), header) {
			t.Errorf("%s may not be sent", header)
		}
	}
	s.Post("lobby", "hi", listed)
	tag := s.Do("GET", "/rt/lobby", "", listed).Header.Get("ETag")
	for name, resp := range map[string]*http.Response{
		"page":   s.Do("GET", "/rt/lobby", "", listed),
		"304":    s.Do("GET", "/rt/lobby", "", listed, "If-None-Match: "+tag),
		"error":  s.Do("GET", "/rt/lobby?since=x", "", listed),
		"stream": s.Do("GET", "/rt/lobby", "", listed, "Accept: text/event-stream"),
		"HEAD":   s.Do("HEAD", "/rt/lobby", "", listed),
	} {
		if resp.Header.Get("Access-Control-Allow-Origin") == "" || !strings.Contains(resp.Header.Get("Access-Control-Expose-Headers"), "ETag") {
			t.Errorf("%s: %v, want headers that let the page read it", name, resp.Header)
		}
	}
	s.Dial("lobby", listed)
}

func TestAnyOriginComesWithoutCredentials(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"origins *\n}")
	resp := s.Do("GET", "/rt/lobby", "", "Origin: https://anybody.example")
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Access-Control-Allow-Origin") != "*" || resp.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
}

func TestForm(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	form := []string{"Content-Type: application/x-www-form-urlencoded", "Accept: text/html,*/*;q=0.8"}
	resp := s.Do("POST", "/rt/lobby", "text=hello+%26+welcome&other=1", append(form, "Referer: "+s.URL+"/chat?x=1", "Sec-Fetch-Site: same-origin")...)
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/chat?x=1" {
		t.Errorf("got %s to %q, want 303 back to the page", resp.Status, resp.Header.Get("Location"))
	}
	if resp := s.Do("POST", "/rt/lobby", "text=second", form...); resp.StatusCode != http.StatusNoContent {
		t.Errorf("without a referring page: %s, want 204", resp.Status)
	}
	if resp := s.Do("POST", "/rt/lobby", "text=third", append(form, "Referer: https://evil.example/")...); resp.StatusCode != http.StatusNoContent {
		t.Errorf("with a foreign one: %s, want 204", resp.Status)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "text=evil", append(form, "Sec-Fetch-Site: cross-site")...), 403, "another site")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "words=x", form...), 400, "field named text")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "text=%zz", form...), 400, "form")
	if got := s.Page("lobby").Texts(); !slices.Equal(got, []string{"hello & welcome", "second", "third"}) {
		t.Errorf("the room holds %q", got)
	}
}

func TestWhoAnyOriginLetsInIsAnonymous(t *testing.T) {
	s := caddytest.Start(t, annOnly+"realtime {\n"+caddytest.Open+"origins * https://app.example.com\n}")
	s.Post("lobby", "any", ann, "Origin: https://anybody.example")
	s.Post("lobby", "listed", ann, "Origin: https://app.example.com")
	messages := s.Page("lobby", ann).Messages
	if from := string(messages[0].From); from != "" {
		t.Errorf("a page that only * lets in speaks for %s", from)
	}
	if from := string(messages[1].From); from != `{"id":"ann"}` {
		t.Errorf("a listed page speaks for %s, want ann", from)
	}
}
