package realtime

import (
	"net/http"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// Of two sources of users, nobody in one has the id of somebody in the other.
func TestIdsOfSourcesDiffer(t *testing.T) {
	site := func(prefix, secret string) string {
		if prefix != "" {
			prefix = "user_prefix " + prefix + "\n"
		}
		return prefix + "jwt {\nsecret " + secret + "\n}\n"
	}
	const other = "another secret of thirty-two bytes and more"
	s := caddytest.Start(t, "realtime /one/* {\nhub shared\n"+caddytest.Open+site("", jwtSecret)+"}\nrealtime /a/* {\nhub shared\n"+site("a", `"`+other+`"`)+"}\nrealtime /ab/* {\nhub shared\n"+site("ab", `"`+other+` still"`)+"}")
	for _, test := range []struct {
		path, secret, sub string
		want              string
	}{
		{"/one/", jwtSecret, "ben", "ben"},
		{"/one/", jwtSecret, "ann", ""},
		{"/a/", other, "nn", "ann"},
		{"/a/", other, "bc", ""},
		{"/ab/", other + " still", "c", "abc"},
	} {
		resp := s.Do("HEAD", test.path+"lobby", "", "Authorization: Bearer "+signed(t, test.secret, jwt.MapClaims{"sub": test.sub}))
		if got := resp.Header.Get("Realtime-User"); got != test.want || (got == "") != (resp.StatusCode == http.StatusUnauthorized) {
			t.Errorf("%s in %s: %s %q, want %q", test.sub, test.path, resp.Status, got, test.want)
		}
	}
}

// Users of one issuer that another claim names are another source.
func TestAnotherClaimIsAnotherSource(t *testing.T) {
	bySub, byEmail := Handler{JWT: &JWT{Issuer: "me"}}, Handler{JWT: &JWT{Issuer: "me", UserClaim: "email"}}
	var app App
	if err := app.noteUsers(&bySub); err != nil {
		t.Fatal(err)
	}
	if err := app.noteUsers(&byEmail); err == nil {
		t.Error("one id may be two people")
	}
	if err := app.noteUsers(&Handler{JWT: &JWT{Issuer: "me", UserClaim: "sub"}}); err != nil {
		t.Errorf("the default claim: %v", err)
	}
}
