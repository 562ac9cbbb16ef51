package requests

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/internal/ui"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// formData is a form as FormData posts it: pairs of name and value, where a name
// that begins with @ is of a file.
func formData(t *testing.T, pairs ...string) (body, header string) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for i := 0; i < len(pairs); i += 2 {
		disposition := fmt.Sprintf(`form-data; name=%q`, strings.TrimLeft(pairs[i], "@"))
		if strings.HasPrefix(pairs[i], "@") {
			disposition += `; filename=""`
			if pairs[i+1] != "" {
				disposition = strings.Replace(disposition, `filename=""`, `filename="cat.png"`, 1)
			}
		}
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Disposition": {disposition}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.Write([]byte(pairs[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), "Content-Type: " + w.FormDataContentType()
}

func TestFormData(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	body, header := formData(t, "text", "a;b & c\r\nd", "other", "1", "@picture", "")
	s.Post("lobby", body, header)
	body, header = formData(t, "name", "Ann", "text", "hi")
	s.Post("lobby", body, header)
	// A multipart form gets the same answers as a form that is percent-encoded.
	body, header = formData(t, "text", "by form")
	resp := s.Do("POST", "/rt/lobby", body, header, "Accept: text/html", "Referer: "+s.URL+"/chat", "Sec-Fetch-Site: same-origin")
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "/chat" {
		t.Errorf("%s %v", resp.Status, resp.Header)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", body, header, "Accept: text/html", "Sec-Fetch-Site: cross-site"), 403, "another site")
	for _, test := range []struct {
		names string
		pairs []string
	}{
		{"message, user", []string{"message", "hi", "user", "Ann"}},
		{"empty", nil},
		{"a, b, c, d, e, …", []string{"g", "", "f", "", "e", "", "d", "", "c", "", "b", "", "a", ""}},
		{`"picture" is a file`, []string{"text", "look", "@picture", "\x89PNG"}},
		{`"text" is a file`, []string{"@text", "hello"}},
		{"at most 100", slices.Repeat([]string{"text", "x"}, 101)},
	} {
		body, header := formData(t, test.pairs...)
		caddytest.Refused(t, s.Do("POST", "/rt/lobby", body, header), 400, test.names)
	}
	body, header = formData(t, "text", "cut")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", body[:len(body)-10], header), 400, "cannot be read")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", body, "Content-Type: multipart/form-data"), 400, "cannot be read")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "message=hi&user=Ann", "Content-Type: application/x-www-form-urlencoded", "Accept: text/html"), 400, "message, user")
	if got := s.Page("lobby").Texts(); !slices.Equal(got, []string{"a;b & c\nd", `{"text":"hi","name":"Ann"}`, "by form"}) {
		t.Errorf("the room holds %q", got)
	}
}

func TestFormSizes(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room * {\nmax_message_size 64\n}\n}")
	long := strings.Repeat("x", 65)
	body, header := formData(t, "text", long)
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", body, header), 413, "max_message_size is 64")
	body, header = formData(t, "text", strings.Repeat("x", 100_000))
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", body, header), 413, "max_message_size is 64")
	caddytest.Refused(t, s.Do("POST", "/rt/lobby", "text="+strings.Repeat("x", 100_000), "Content-Type: application/x-www-form-urlencoded", "Accept: text/html"), 413, "max_message_size is 64")
	// Fields other than the text are not part of the message.
	body, header = formData(t, "text", "hi", "token", strings.Repeat("t", 8000))
	s.Post("lobby", body, header)
}

// The refusal names the limit of the other handler, not max_message_size.
func TestTheSitesOwnLimitOfBodies(t *testing.T) {
	s := caddytest.Start(t, "request_body {\nmax_size 10\n}\nrealtime {\n"+caddytest.Open+"}")
	for name, header := range map[string]string{
		"bytes": "Content-Type: image/png", "text": "Content-Type: text/plain", "form": "Content-Type: application/x-www-form-urlencoded",
		"commands": "Content-Type: application/x-ndjson",
	} {
		target := "/rt/lobby"
		if name == "commands" {
			target = "/rt/"
		}
		// The length is unknown: Caddy counts the bytes that come, and does not look at
		// Content-Length.
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+target, struct{ *strings.Reader }{strings.NewReader("more than ten bytes")})
		if err != nil {
			t.Fatal(err)
		}
		key, value, _ := strings.Cut(header, ": ")
		req.Header.Set(key, value)
		if name == "form" {
			req.Header.Set("Accept", "text/html")
		}
		resp, err := caddytest.Client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = resp.Body.Close() })
		if p := caddytest.Refused(t, resp, 413, "10 bytes"); strings.Contains(p.Detail, "max_message_size") || !strings.Contains(p.Detail, "request_body") {
			t.Errorf("%s: told %q", name, p.Detail)
		}
	}
}

// Parameters that others add to a link do not make it unreadable.
func TestSemicolonsInAQuery(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"ui on\n}")
	s.Post("lobby?event=note&utm=a;b=c", "one")
	s.Post("lobby?utm=a;b", "two")
	for _, query := range []string{"utm=a;b=c", ";", "utm=a;last=1&x", "utm=a%3Bb;c"} {
		if got := s.Page("lobby?" + query).Texts(); !slices.Equal(got, []string{"one", "two"}) {
			t.Errorf("%s: %q", query, got)
		}
	}
	if got := s.Page("lobby?utm=a;b&last=1").Texts(); !slices.Equal(got, []string{"two"}) {
		t.Errorf("the parameter beside it was lost: %q", got)
	}
	if got := s.Page("?utm=a;b&room=lobby").Texts(); len(got) != 2 {
		t.Errorf("the room beside it was lost: %q", got)
	}
	if got := s.Page("lobby").Messages[0].Event; got != "note" {
		t.Errorf("the event beside it was lost: %q", got)
	}
	for _, transport := range transports {
		if transport.name == "WebSocket" {
			s.Dial("lobby?utm=a;b=c&last=1")
			continue
		}
		resp := s.Do(transport.method, "/rt/lobby?utm=a;b=c&last=1", "text=hi", transport.headers...)
		if resp.StatusCode >= 300 {
			t.Errorf("%s: %s", transport.name, resp.Status)
		}
	}
	resp := s.Do("GET", "/rt/lobby?utm=a;b&log", "", "Accept: text/html")
	frame := make(http.Header)
	ui.Frame(frame)
	if got := resp.Header.Get("Content-Security-Policy"); got != frame.Get("Content-Security-Policy") {
		t.Errorf("the log beside it was lost: %q", got)
	}
	caddytest.Refused(t, s.Do("GET", "/rt/lobby?last=1;2", ""), 400, "last=1;2")
	resp = s.Do("POST", "/rt/form", "text=a;b&x;y=1", "Content-Type: application/x-www-form-urlencoded", "Accept: text/html")
	if resp.StatusCode != http.StatusNoContent || !slices.Equal(s.Page("form").Texts(), []string{"a;b"}) {
		t.Errorf("a form: %s, %q", resp.Status, s.Page("form").Texts())
	}
}
