package realtime

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// administer sends a request to the module's part of the admin API, and returns the answer, or the
// error with its status.
func administer(method, target, body string) (answer string, status int, err error) {
	mux := http.NewServeMux()
	for _, route := range new(AdminAPI).Routes() {
		mux.HandleFunc(route.Pattern, func(w http.ResponseWriter, r *http.Request) { err = route.Handler.ServeHTTP(w, r) })
	}
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest(method, target, strings.NewReader(body)))
	if api, ok := errors.AsType[caddy.APIError](err); ok {
		return "", api.HTTPStatus, err
	}
	return w.Body.String(), w.Code, err
}

// A revocation that cannot be meant is refused, by an error that has no secret in it.
func TestRevocationsThatAreRefused(t *testing.T) {
	caddytest.Start(t, "realtime /a/* {\n}\nrealtime /b/* {\nhub support\n}")
	key, _ := backend.Generate()
	for body, want := range map[string]struct {
		status int
		text   string
	}{
		`{"user":"ann"}`:                                 {200, ""},
		`{"user":"ann","hub":"support"}`:                 {200, ""},
		`{"user":"ann","hub":"sales"}`:                   {404, `there is no hub "sales": the hubs here are "support", the one without a name`},
		`{}`:                                             {400, "one of user"},
		`{"user":"ann","token":"x"}`:                     {400, "not several"},
		`{"user":"ann","room":"x"}`:                      {400, "unknown field"},
		`{"user":"ann"}{"user":"ben"}`:                   {400, "after the object"},
		`nonsense`:                                       {400, "reading the body"},
		`{"user":"` + strings.Repeat("x", 70_000):        {400, "too large"},
		`{"user":"~x"}`:                                  {400, "no user can have this id"},
		`{"user":"~a1"}`:                                 {400, "no user can have this id"},
		`{"token":"a\nb"}`:                               {400, "control characters"},
		`{"token":"eyJcanary.eyJcanary.canary"}`:         {400, "jti"},
		`{"key":"` + key + `"}`:                          {400, "the id of the key"},
		`{"link":"v1.canary.canary.canary"}`:             {400, "the id of the link"},
		`{"link":"https://x/rt/b?link=canary"}`:          {400, "the id of the link"},
		`{"issuer":"https://x/","for":"367d"}`:           {400, "at most 366d"},
		`{"user":"ann","for":"soon"}`:                    {400, "must be a duration"},
		`{"user":"ann","for":"-1h"}`:                     {400, "must be a duration"},
		`{"user":"ann","before":"yesterday"}`:            {400, "reading the body"},
		`{"user":"ann","before":"2999-01-01T00:00:00Z"}`: {400, "in the future"},
	} {
		answer, status, err := administer("POST", "/realtime/revoke", body)
		switch {
		case status != want.status, want.text == "" && err != nil, want.text != "" && (err == nil || !strings.Contains(err.Error(), want.text)):
			t.Errorf("%.60s: %d %s %v, want %d %s", body, status, answer, err, want.status, want.text)
		case err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), key[13:])):
			t.Errorf("%.60s: a secret is in %v", body, err)
		}
	}
	for target, want := range map[string]int{
		"?hub=support": 200, "?hub=sales": 404, "?limit=0": 400, "?limit=x": 400, "?limit=1001": 400, "?limit=1000&after=z": 200,
	} {
		if _, status, err := administer("GET", "/realtime/revocations"+target, ""); status != want {
			t.Errorf("%s: %d %v, want %d", target, status, err, want)
		}
	}
	for _, wrong := range [][2]string{{"GET", "/realtime/revoke"}, {"POST", "/realtime/revocations"}} {
		if _, status, _ := administer(wrong[0], wrong[1], `{"user":"ann"}`); status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s: %d", wrong[0], wrong[1], status)
		}
	}
}

// Revocations are listed in pages, each with the way to the next one.
func TestRevocationsInPages(t *testing.T) {
	caddytest.Start(t, "realtime")
	if answer, status, err := administer("GET", "/realtime/revocations", ""); answer != `{"revocations":[]}`+"\n" || status != 200 {
		t.Errorf("none: %s %v", answer, err)
	}
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprintf("u%d", i))
		if _, status, err := administer("POST", "/realtime/revoke", `{"user":"`+want[i]+`"}`); status != 200 {
			t.Fatal(err)
		}
	}
	var got []string
	var page revocationsAnswer
	for range 3 {
		answer, _, err := administer("GET", "/realtime/revocations?limit=2&after="+page.Next, "")
		page = revocationsAnswer{}
		if err != nil || json.Unmarshal([]byte(answer), &page) != nil {
			t.Fatalf("%s %v", answer, err)
		}
		for _, r := range page.Revocations {
			got = append(got, r.User)
		}
	}
	if !slices.Equal(got, want) || page.Next != "" {
		t.Errorf("got %q and then %q, want %q", got, page.Next, want)
	}
}

// What nobody says how long to keep is kept as long as such a credential can be good.
func TestRevocationOutlivesWhatItRefuses(t *testing.T) {
	s := caddytest.Start(t, "realtime {\njwt {\nsecret \"a secret of at least thirty-two bytes\"\nmax_lifetime 30d\n}\n}")
	for body, want := range map[string]time.Duration{
		`{"user":"ann"}`:               30 * 24 * time.Hour,
		`{"token":"t"}`:                30 * 24 * time.Hour,
		`{"issuer":"i"}`:               30 * 24 * time.Hour,
		`{"user":"~gabc"}`:             366 * 24 * time.Hour,
		`{"link":"l"}`:                 366 * 24 * time.Hour,
		`{"key":"k"}`:                  366 * 24 * time.Hour,
		`{"key":"k2","for":"90m"}`:     90 * time.Minute,
		`{"user":"ben","for":"366d"}`:  366 * 24 * time.Hour,
		`{"token":"short","for":"1m"}`: time.Minute,
	} {
		answer, _, err := administer("POST", "/realtime/revoke", body)
		var is revocationAnswer
		if err != nil || json.Unmarshal([]byte(answer), &is) != nil {
			t.Fatalf("%s: %s %v", body, answer, err)
		}
		if kept := time.Until(is.Until); kept < want-time.Minute || kept > want+5*time.Minute {
			t.Errorf("%s is kept for %s, want %s", body, kept, want)
		}
	}
	s.Reload("realtime {\njwt {\nsecret \"a secret of at least thirty-two bytes\"\n}\n}")
	answer, _, _ := administer("POST", "/realtime/revoke", `{"user":"cat"}`)
	var is revocationAnswer
	if json.Unmarshal([]byte(answer), &is) != nil || time.Until(is.Until) < 29*24*time.Hour {
		t.Errorf("tokens of the configuration before live longer than %s", answer)
	}
}

// Revoking works while configurations come and go, and what was revoked stays so.
func TestRevokingWhileReloading(t *testing.T) {
	s := caddytest.Start(t, "realtime")
	done := make(chan int)
	stop := make(chan struct{})
	go func() {
		n := 0
		defer func() { done <- n }()
		for ; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			if answer, _, err := administer("POST", "/realtime/revoke", fmt.Sprintf(`{"token":"t%d"}`, n)); err != nil {
				t.Errorf("revoking number %d: %s %v", n, answer, err)
				return
			}
		}
	}()
	for i := range 5 {
		s.Reload(fmt.Sprintf("realtime {\nmax_rooms %d\n}", 100+i))
	}
	close(stop)
	n := <-done
	p, err := findHub("")
	if err != nil {
		t.Fatal(err)
	}
	if n == 0 || len(p.hub.Revocations("", hub.MaxRevocations)) != min(n, hub.MaxRevocations) {
		t.Errorf("%d were revoked, %d are kept", n, len(p.hub.Revocations("", hub.MaxRevocations)))
	}
	if err := caddy.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, status, err := administer("POST", "/realtime/revoke", `{"user":"ann"}`); status != 404 || !strings.Contains(err.Error(), "no realtime handler") {
		t.Errorf("without a hub: %d %v", status, err)
	}
}

// Who revokes what is in the log, in one line.
func TestRevocationIsAudited(t *testing.T) {
	_, logged := caddytest.StartLogged(t, "realtime {\nhub support\n}")
	if _, _, err := administer("POST", "/realtime/revoke", `{"user":"ann","hub":"support"}`); err != nil {
		t.Fatal(err)
	}
	if _, _, err := administer("POST", "/realtime/revoke", `{"user":"~x","hub":"support"}`); err == nil {
		t.Fatal("a bad one was taken")
	}
	lines := logged("credentials were revoked")
	if len(lines) != 1 {
		t.Fatalf("%d lines: %v", len(lines), lines)
	}
	for name, want := range map[string]string{
		"level": "info", "logger": "http.handlers.realtime", "audit": "revocation", "by": "admin API", "address": "192.0.2.1", "hub": "support", "revoked": "user:ann",
	} {
		if got := lines[0][name]; got != want {
			t.Errorf("%s is %v, want %s", name, got, want)
		}
	}
}

// A hub that is full of revocations says so.
func TestRevocationsAreBounded(t *testing.T) {
	caddytest.Start(t, "realtime")
	p, err := findHub("")
	if err != nil {
		t.Fatal(err)
	}
	for i := range hub.MaxRevocations {
		if _, err := p.hub.Revoke(t.Context(), hub.Revocation{Name: fmt.Sprint("token:", i), Until: time.Now().Add(time.Hour)}); err != nil {
			t.Fatal(err)
		}
	}
	if _, status, err := administer("POST", "/realtime/revoke", `{"user":"ann"}`); status != 503 || !strings.Contains(err.Error(), limit.ErrFull.Error()) {
		t.Errorf("one too many: %d %v", status, err)
	}
	if _, status, err := administer("POST", "/realtime/revoke", `{"token":"1"}`); status != 200 {
		t.Errorf("a known one: %d %v", status, err)
	}
}
