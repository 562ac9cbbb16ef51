package ui

import (
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// The page speaks the reader's language if the element speaks it.
func TestLanguage(t *testing.T) {
	for accepts, want := range map[string]string{
		"":                         `<html lang="en">`,
		"fr, tlh;q=0.5":            `<html lang="en">`,
		"fr, de-AT;q=0.8, en;q=.5": `<html lang="de">`,
		"ar-EG":                    `<html lang="ar" dir="rtl">`,
		"zh-Hans-CN, en":           `<html lang="zh">`,
	} {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/rt/lobby", nil)
		r.Header.Set("Accept-Language", accepts)
		if err := Serve(w, r, Options{Room: "lobby", Prefix: "/rt/"}); err != nil {
			t.Fatal(err)
		}
		resp := w.Result()
		if body := w.Body.String(); !strings.Contains(body, want) || !slices.Contains(resp.Header.Values("Vary"), "Accept-Language") {
			t.Errorf("%q: %s, %v, want %s", accepts, body, resp.Header.Values("Vary"), want)
		}
	}
}

func TestBase(t *testing.T) {
	for _, test := range []struct{ page, prefix, want string }{
		{"/rt/lobby", "/rt/", "./"},
		{"/rt/", "/rt/", "./"},
		{"/rt/a/b/c", "/rt/", "../../"},
		{"/rt/a%2Fb/c", "/rt/", "../"},
		{"/lobby", "/", "./"},
		{"/rt%2Flobby", "/rt/", "/rt/"},
	} {
		u, err := url.Parse(test.page)
		if err != nil {
			t.Fatal(err)
		}
		if got := base(u, test.prefix); got != test.want {
			t.Errorf("%s below %s: %s, want %s", test.page, test.prefix, got, test.want)
		}
	}
}
