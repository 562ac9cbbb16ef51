package serve

import (
	"encoding/base64"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/protocol"
)

func TestPresent(t *testing.T) {
	of := base64.RawURLEncoding.EncodeToString
	for _, test := range []struct {
		name, target string
		headers      []string
		want         Presented
		status       int // 0: no error
	}{
		{"nothing", "a", nil, Presented{}, 0},
		{"header", "a", []string{"Authorization: Bearer x.y.z"}, Presented{Bearer: "x.y.z"}, 0},
		{"scheme in another case", "a", []string{"Authorization: bEARER  x"}, Presented{Bearer: "x"}, 0},
		{"another scheme", "a", []string{"Authorization: Basic x"}, Presented{}, 0},
		{"scheme alone", "a", []string{"Authorization: Bearer"}, Presented{}, 0},
		{"subprotocol", "a", []string{"Sec-Websocket-Protocol: realtime.v1, bearer." + of([]byte("x.y"))}, Presented{Bearer: "x.y"}, 0},
		{"subprotocol in a second header", "a", []string{"Sec-Websocket-Protocol: realtime.v1", "Sec-Websocket-Protocol: bearer." + of([]byte("x"))}, Presented{Bearer: "x"}, 0},
		{"the same twice", "a", []string{"Authorization: Bearer x", "Sec-Websocket-Protocol: bearer." + of([]byte("x"))}, Presented{Bearer: "x"}, 0},
		{"two", "a", []string{"Authorization: Bearer x", "Sec-Websocket-Protocol: bearer." + of([]byte("y"))}, Presented{}, 400},
		{"two subprotocols", "a", []string{"Sec-Websocket-Protocol: bearer." + of([]byte("x")) + ",bearer." + of([]byte("y"))}, Presented{}, 400},
		{"with padding", "a", []string{"Sec-Websocket-Protocol: bearer." + base64.URLEncoding.EncodeToString([]byte("x"))}, Presented{}, 400},
		{"empty subprotocol", "a", []string{"Sec-Websocket-Protocol: bearer."}, Presented{}, 400},
		{"query", "a?access_token=x&link=l", nil, Presented{AccessToken: "x", Link: "l"}, 0},
		{"link in the header", "a", []string{"Realtime-Link: l"}, Presented{Link: "l"}, 0},
		{"two headers", "a", []string{"Authorization: Bearer x", "Authorization: Bearer y"}, Presented{}, 400},
		{"two schemes", "a", []string{"Authorization: Basic x", "Authorization: Bearer y"}, Presented{}, 400},
		{"the same header twice", "a", []string{"Authorization: Bearer x", "Authorization: Bearer x"}, Presented{Bearer: "x"}, 0},
		{"two in the query", "a?access_token=x&access_token=y", nil, Presented{}, 400},
		{"two links in the query", "a?link=x&link=y", nil, Presented{}, 400},
		{"two links in headers", "a", []string{"Realtime-Link: x", "Realtime-Link: y"}, Presented{}, 400},
		{"two links", "a?link=k", []string{"Realtime-Link: l"}, Presented{}, 400},
		{"too long", "a", []string{"Authorization: Bearer " + strings.Repeat("x", maxCredential+1)}, Presented{}, 401},
		{"too long a link", "a?link=" + strings.Repeat("x", maxCredential+1), nil, Presented{}, 401},
	} {
		r, _ := newRequest(t, http.MethodGet, test.target, "", test.headers...)
		got, err := present(r, queryOf(r))
		status := 0
		if err != nil {
			status = protocol.ProblemOf(err).Status
			for _, secret := range []string{"xxx", of([]byte("y"))} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s: the error repeats the credential: %v", test.name, err)
				}
			}
		}
		if status != test.status || err == nil && !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s: %+v, %v; want %+v, %d", test.name, got, err, test.want, test.status)
		}
	}
}

// What a request presents counts as far as it may.
func TestWhoCounts(t *testing.T) {
	s := newServer(t)
	s.Origins = []string{"*"}
	for _, test := range []struct {
		name    string
		target  string
		headers []string
		want    string // the user, or a status
	}{
		{"ambient", "a", []string{"From: ann"}, "ann"},
		{"explicit before ambient", "a", []string{"From: ann", "Authorization: Bearer ben"}, "ben"},
		{"a bad one is not ambient instead", "a", []string{"From: ann", "Authorization: Bearer bad"}, "401"},
		{"ambient of any page", "a", []string{"From: ann", "Origin: https://evil.example"}, ""},
		{"explicit of any page", "a", []string{"From: ann", "Origin: https://evil.example", "Authorization: Bearer ben"}, "ben"},
		{"ambient without an origin", "a", []string{"From: ann", "Sec-Fetch-Site: same-site"}, ""},
		{"anonymous", "a?anonymous", []string{"From: ann", "Authorization: Bearer ben"}, ""},
	} {
		r, _ := newRequest(t, http.MethodGet, test.target, "", test.headers...)
		anyOrigin := r.Header.Get("Origin") != ""
		req, err := s.negotiate(r)
		if err != nil {
			t.Fatal(err)
		}
		c, err := s.client(make(http.Header), r, &req, []string{"a"}, anyOrigin)
		got := ""
		switch {
		case err != nil:
			got = http.StatusText(protocol.ProblemOf(err).Status)
			if protocol.ProblemOf(err).Status == http.StatusUnauthorized {
				got = "401"
			}
		case c.User != nil:
			got = c.User.ID
		}
		if got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}
