package realtime

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
	"github.com/caddy-realtime/realtime/test/recipes"
)

// docRecipe runs the site of ACCESS.md that contains something, after the changes to it.
func docRecipe(t *testing.T, contains string, changes ...string) (*caddytest.Site, *recipes.App) {
	t.Helper()
	s, app := caddytest.New(t), recipes.Start(t)
	config := docFind(t, "docs/ACCESS.md", "caddyfile site", contains)
	for i := 0; i < len(changes); i += 2 {
		if !strings.Contains(config, changes[i]) {
			t.Fatalf("the recipe has no %q", changes[i])
		}
		config = strings.ReplaceAll(config, changes[i], changes[i+1])
	}
	caddytest.StopAfter(t)
	caddytest.Load(t, recipes.With("\tadmin off\n\tpersist_config off\n\tauto_https off\n", app.Here(strings.ReplaceAll(config, docsURL, s.URL))))
	return s, app
}

const (
	docBen  = "Authorization: Basic YmVuOnNlY3JldA=="
	docAnn  = "Authorization: Basic YW5uOnNlY3JldA=="
	docName = "dm/ann/inbox"
)

// No spelling of a header or of a path brings a forged user past forward_auth.
func TestDocsForgedUser(t *testing.T) {
	s, _ := docRecipe(t, "forward_auth")
	for _, header := range []string{"Remote-User", "remote-user", "REMOTE-USER", "Remote_User"} {
		for _, path := range []string{
			"/rt/lobby", "/rt//lobby", "//rt/lobby", "/rt/./lobby", "/x/../rt/lobby", "/%72t/lobby", "/rt%2Flobby", "/RT/lobby", "/Rt/lobby",
			"/rt/lobby/", "/rt/?room=lobby", "/rt/?room=lobby&user=ann", "/rt/lobby?Remote-User=ann", "/rt/%6Cobby", "/rt;x/lobby",
		} {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL, strings.NewReader("forged"))
			if err != nil {
				t.Fatal(err)
			}
			raw, query, _ := strings.Cut(path, "?")
			req.URL.Opaque, req.URL.RawQuery = raw, query
			req.Header[header] = []string{"ann"}
			req.Header["Connection"] = []string{header} // as if it were for the next hop alone
			resp, err := caddytest.Client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if _ = resp.Body.Close(); resp.StatusCode == http.StatusCreated {
				t.Errorf("%s with %s: %s", path, header, resp.Status)
			}
		}
	}
	resp := s.Do("POST", "/rt/?commands", `{"op":"publish","room":"lobby","data":"forged"}`, "Remote-User: ann")
	if body := caddytest.ReadAll(t, resp); !strings.Contains(body, `"status":401`) {
		t.Errorf("a command: %s", body)
	}
	s.Post("lobby", "mine", "Cookie: session=ben", "Remote-User: ann", "Remote-Name: Ann Archer")
	page := s.Page("lobby?last=9")
	if len(page.Messages) != 1 || string(page.Messages[0].From) != `{"id":"ben","name":"Ben Archer"}` {
		t.Errorf("the room has %+v", page.Messages)
	}
}

// Nobody reads another's room, however it is named.
func TestDocsRoomOfAnother(t *testing.T) {
	s, _ := docRecipe(t, "room dm/{user}/*")
	s.Post(docName, "for Ann alone", docAnn)
	cursor := s.Page(docName+"?last=1", docAnn).Cursor
	for _, target := range []string{
		docName, "dm%2Fann%2Finbox", "dm/%61nn/inbox", "?room=" + docName, "?room=lobby&room=" + docName, docName + "?members", docName + "?before=" + cursor,
		docName + "?last=1", docName + "?wait=1", docName + "?since=" + url.QueryEscape(cursor), "dm//ann/inbox", "dm/ben/../ann/inbox", "dm/ann/inbox/", "dm/Ann/inbox",
	} {
		for _, accept := range []string{"application/json", "text/event-stream", "application/x-ndjson", "text/html"} {
			resp := s.Do("GET", "/rt/"+target, "", docBen, "Accept: "+accept)
			if resp.StatusCode < 300 {
				t.Errorf("GET %s as %s: %s", target, accept, resp.Status)
			}
		}
	}
	for _, op := range []string{"join", "history", "state"} {
		body := caddytest.ReadAll(t, s.Do("POST", "/rt/?commands", `{"op":"`+op+`","room":"`+docName+`","state":1}`, docBen))
		if !strings.Contains(body, `"op":"error"`) {
			t.Errorf("the command %s: %s", op, body)
		}
	}
	for _, header := range []string{`If-None-Match: "` + cursor + `"`, "Last-Event-ID: " + cursor, "If-None-Match: *"} {
		if resp := s.Do("GET", "/rt/"+docName, "", docBen, header); resp.StatusCode != http.StatusForbidden || resp.Header.Get("Etag") != "" {
			t.Errorf("%s: %s %v", header, resp.Status, resp.Header)
		}
	}
	there, missing := s.Do("GET", "/rt/"+docName, "", docBen), s.Do("GET", "/rt/dm/ann/none", "", docBen)
	if a, b := caddytest.ReadAll(t, there), caddytest.ReadAll(t, missing); a != b || there.StatusCode != missing.StatusCode {
		t.Errorf("a room that exists answers %s, another %s", a, b)
	}
}

// Who comes past the proxy has no address of their choice.
func TestDocsForgedAddress(t *testing.T) {
	s, _ := docRecipe(t, "client_ip_headers", " 127.0.0.1", "")
	for _, header := range []string{"Cf-Connecting-Ip: 192.0.2.7", "X-Forwarded-For: 192.0.2.7", "Forwarded: for=192.0.2.7", "X-Real-Ip: 192.0.2.7"} {
		if resp := s.Do("POST", "/rt/office/lunch", "hi", header); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s: %s", header, resp.Status)
		}
	}
}

// A page, a proxy, or a name that points to this machine is no backend.
func TestDocsBackendIsNoBrowser(t *testing.T) {
	s, app := docRecipe(t, "as backend")
	private := s.In(t)
	private.URL = "http://" + app.Here("127.0.0.1:8081")
	private.Post("orders/7", "paid")
	for _, header := range []string{
		"Host: evil.example", "Origin: " + private.URL, "Origin: null", "Cookie: a=b", "Forwarded: for=192.0.2.7", "X-Forwarded-For: 192.0.2.7",
		"Via: 1.1 proxy", "Sec-Fetch-Site: none", "Sec-Fetch-Mode: no-cors",
	} {
		if resp := private.Do("POST", "/rt/orders/7", "forged", header); resp.StatusCode == http.StatusCreated {
			t.Errorf("%s: %s", header, resp.Status)
		}
	}
	if resp := s.Do("POST", "/rt/orders/7", "forged"); resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("at the public address: %s", resp.Status)
	}
	if texts := s.Page("orders/7").Texts(); len(texts) != 1 {
		t.Errorf("the room has %q", texts)
	}
}
