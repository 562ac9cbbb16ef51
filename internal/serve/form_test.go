package serve

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestWayBackFromAForm(t *testing.T) {
	for referer, want := range map[string]string{
		"":                                       "",
		"http://example.com/chat?x=1":            "/chat?x=1",
		"https://Example.com":                    "/",
		"http://example.com/a//b":                "/a//b",
		"http://example.com/?next=//evil":        "/?next=//evil",
		"http://example.com//evil.example/":      "",
		"http://example.com///evil.example/":     "",
		`http://example.com/\evil.example/`:      `/%5Cevil.example/`,
		`http://example.com\evil.example/`:       "",
		"http://example.com/%2F/evil.example/":   "/%2F/evil.example/",
		"http://example.com/%5Cevil.example/":    "/%5Cevil.example/",
		"http://example.com/\t/evil.example/":    "",
		"http://example.com/\r\nX: y":            "",
		"http://evil.example/":                   "",
		"http://example.com@evil.example/":       "",
		"http://ann@example.com/chat":            "/chat",
		"//example.com//evil.example/":           "",
		"javascript://example.com/%0aalert(1)":   "",
		"http:example.com//evil.example":         "",
		"http:////evil.example":                  "",
		"/chat":                                  "",
		"http://example.com/http://evil.example": "/http://evil.example",
	} {
		r := httptest.NewRequest(http.MethodPost, "http://example.com/rt/lobby", nil)
		r.Header.Set("Referer", referer)
		w := httptest.NewRecorder()
		back(w, r)
		location := w.Header().Get("Location")
		if location != want || (w.Code == http.StatusSeeOther) != (want != "") {
			t.Errorf("%q: %d to %q, want %q", referer, w.Code, location, want)
		}
		if to, err := url.Parse("http://example.com/rt/lobby"); err != nil {
			t.Fatal(err)
		} else if to, err = to.Parse(location); err != nil || to.Host != "example.com" {
			t.Errorf("%q: leads to %v, %v", referer, to, err)
		}
	}
	// A request of HTTP/1.0 may have no host, and a Referer none either.
	r := httptest.NewRequest(http.MethodPost, "/rt/lobby", nil)
	r.Host = ""
	for _, referer := range []string{"", "http:////evil.example/", "http:///chat", "/chat", "x:evil"} {
		r.Header.Set("Referer", referer)
		w := httptest.NewRecorder()
		if back(w, r); w.Code != http.StatusNoContent {
			t.Errorf("%q without a host: %d to %q", referer, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestFormContent(t *testing.T) {
	long := strings.Repeat("é", 70)
	for _, test := range []struct{ form, contentType, want string }{
		{"text=hi", "text/plain", "hi"},
		{"text=hi&name=", "text/plain", "hi"},
		{"text=hi&name=++", "text/plain", "hi"},
		{"text=%ff", "text/plain", "\xff"}, // protocol.Content has something to say of it
		{"text=&name=Ann", "application/json", `{"text":"","name":"Ann"}` + "\n"},
		{"text=%3Cb%3E%22&name=%22", "application/json", `{"text":"<b>\"","name":"\""}` + "\n"},
		{"text=a%0D%0Ab%0Dc&name=x", "application/json", `{"text":"a\nb\nc","name":"x"}` + "\n"},
		{"text=x&name=" + long, "application/json", `{"text":"x","name":"` + long[:64*2] + `"}` + "\n"},
		{"text=x&name=%ff", "", ""},
		{"text=%ff&name=x", "", ""},
		{"name=x", "", ""},
	} {
		fields, err := url.ParseQuery(test.form)
		if err != nil {
			t.Fatal(err)
		}
		contentType, body, err := formContent(fields)
		if contentType != test.contentType || string(body) != test.want || (err != nil) != (test.contentType == "") {
			t.Errorf("%s: %s %q, %v", test.form, contentType, body, err)
		}
	}
}
