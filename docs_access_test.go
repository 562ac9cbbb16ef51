package realtime

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/caddy-realtime/realtime/access/link"
	"github.com/caddy-realtime/realtime/test/caddytest"
	"github.com/caddy-realtime/realtime/test/recipes"
)

// docFind returns the first block of a document that is of a kind and contains something.
func docFind(t *testing.T, file, info, contains string) string {
	t.Helper()
	blocks := docBlocks(t, file)
	i := slices.IndexFunc(blocks, func(b docBlock) bool { return b.info == info && strings.Contains(b.text, contains) })
	if i < 0 {
		t.Fatalf("%s has no block %q with %q", file, info, contains)
	}
	return blocks[i].text
}

// The programs of ACCESS.md make tokens that are good.
func TestDocsTokenPrograms(t *testing.T) {
	recipes.SetSecrets(t)
	for interpreter, file := range map[string]string{"node": "token.mjs", "php": "token.php"} {
		t.Run(interpreter, func(t *testing.T) {
			if _, err := exec.LookPath(interpreter); err != nil {
				t.Skip(err)
			}
			path := filepath.Join(t.TempDir(), file)
			language := strings.Replace(interpreter, "node", "js", 1)
			if err := os.WriteFile(path, []byte(docFind(t, "docs/ACCESS.md", language+" file "+file, "")), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), interpreter, path, "änn", `{"groups":["staff"],"name":"Ä/B"}`).Output()
			if err != nil {
				t.Fatal(err)
			}
			claims := jwt.MapClaims{}
			if _, err := jwt.ParseWithClaims(strings.TrimSpace(string(out)), claims, func(*jwt.Token) (any, error) {
				return []byte(os.Getenv("JWT_SECRET")), nil
			}, jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithValidMethods([]string{"HS256"})); err != nil {
				t.Fatalf("%v in %s", err, out)
			}
			if got := fmt.Sprint(claims["sub"], claims["name"], claims["groups"]); got != "ännÄ/B[staff]" {
				t.Errorf("the claims are %s", got)
			}
		})
	}
}

// docLogSite is what the site of OPERATIONS.md that keeps secrets out of logs has in place of a bare
// realtime: everything that takes some.
const docLogSite = `	forward_auth /rt/lobby localhost:9000 {
		uri /who-is-it
	}
	realtime {
		jwt {
			secret {env.JWT_SECRET}
			cookie token
			query_token on
		}
		backend shop {env.SHOP_KEY}
		links {env.LINKS_KEY} {
			rooms *
			verbs all
		}
		ui on
		room closed {
			allow all nobody
		}
	}
	handle_errors {
		respond "refused" 500
	}
`

// With the block of OPERATIONS.md for logs, no secret of a request is in Caddy's logs, whether the request is answered or
// refused.
func TestDocsLogHasNoSecrets(t *testing.T) {
	s, app := caddytest.New(t), recipes.Start(t)
	file := filepath.Join(t.TempDir(), "log")
	config := docFind(t, "docs/OPERATIONS.md", "caddyfile", "format filter")
	for _, change := range [][2]string{
		{"\tlog {\n", "\tlog {\n\t\tlevel DEBUG\n\t\toutput file " + file + "\n"},
		{"example.com {", s.URL + " {"},
		{"\trealtime\n", app.Here(docLogSite)},
	} {
		if strings.Count(config, change[0]) != 1 {
			t.Fatalf("the block does not have %q once:\n%s", change[0], config)
		}
		config = strings.Replace(config, change[0], change[1], 1)
	}
	caddytest.StopAfter(t)
	caddytest.Load(t, recipes.With("\tadmin off\n\tpersist_config off\n\tauto_https off\n", config))

	secrets := docSecrets(t, s)
	asked := docAskWithSecrets(s, secrets)
	var log string
	caddytest.Eventually(t, "every request is logged", func() bool {
		raw, err := os.ReadFile(file)
		log = string(raw)
		return err == nil && strings.Count(log, `"msg":"handled request`) >= asked
	})
	if !strings.Contains(log, `"logger":"http.log.error`) {
		t.Error("no error is logged, so the test shows less than it should")
	}
	for name, secret := range secrets {
		// The middle of it: a filter could have cut what is around.
		if middle := secret[len(secret)/3 : 2*len(secret)/3]; strings.Contains(log, middle) {
			at := strings.Index(log, middle)
			t.Errorf("the log has the %s: …%s…", name, log[max(0, at-200):min(len(log), at+100)])
		}
	}
}

// docSecrets are what nobody may read in a log, by name.
func docSecrets(t *testing.T, s *caddytest.Site) map[string]string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"sub": "ann", "iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	}).SignedString([]byte(os.Getenv("JWT_SECRET")))
	if err != nil {
		t.Fatal(err)
	}
	key, err := link.NewKey(os.Getenv("LINKS_KEY"))
	if err != nil {
		t.Fatal(err)
	}
	signed, err := key.Sign(link.Link{Host: "127.0.0.1", Room: "lobby", Verbs: []string{"subscribe", "publish"}, Expires: now.Add(time.Hour)}, now)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"token": token, "token in base64url": base64.RawURLEncoding.EncodeToString([]byte(token)), "link": signed,
		"key": os.Getenv("SHOP_KEY"), "conn": s.Do("HEAD", "/rt/", "").Header.Get("Realtime-Conn"),
	}
}

// docAskWithSecrets sends each secret in each way, and returns how many requests that were.
func docAskWithSecrets(s *caddytest.Site, secrets map[string]string) int {
	token, signed, conn := secrets["token"], secrets["link"], url.QueryEscape(secrets["conn"])
	upgrade := []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}
	asked := 1 // by docSecrets
	for _, room := range []string{"lobby", "closed"} {
		for _, query := range []string{"?access_token=" + token, "?link=" + signed, "?conn=" + conn, "?x=1&conn=" + conn + "&access_token=" + token + "&link=" + signed} {
			for _, method := range []string{"GET", "HEAD", "POST"} {
				_ = s.Do(method, "/rt/"+room+query, "hi").Body.Close()
				asked++
			}
		}
		for _, headers := range [][]string{
			{"Authorization: Bearer " + token},
			{"Authorization: Bearer " + secrets["key"]},
			{"Cookie: token=" + token + "; realtime-link=" + signed},
			{"Realtime-Link: " + signed},
			append([]string{"Sec-WebSocket-Protocol: realtime.v1, bearer." + secrets["token in base64url"]}, upgrade...),
			{"Sec-WebSocket-Protocol: bearer." + secrets["token in base64url"]},
		} {
			_ = s.Do("GET", "/rt/"+room, "", headers...).Body.Close()
			asked++
		}
		// A browser that opens a link.
		_ = s.Do("GET", "/rt/"+room+"?link="+signed, "", "Accept: text/html", "Sec-Fetch-Mode: navigate").Body.Close()
		asked++
	}
	return asked
}

// The set of a provider's keys changes: who is connected stays, and tokens by the new key are good.
func TestDocsKeysRotate(t *testing.T) {
	s, app := docRecipe(t, "jwks ")
	old := "Authorization: Bearer " + app.Token(t, "ann", nil)
	ann := s.Dial("lobby?envelope=1", old)
	if ready := caddytest.Receive(t, ann); !strings.Contains(ready, `"user":{"id":"ann"}`) {
		t.Fatalf("ready is %s", ready)
	}
	stream := s.Stream("lobby", "application/x-ndjson", old)
	stream.Until(`{"op":"ready"`)
	app.Rotate(t)
	app.Withdraw()
	fresh := "Authorization: Bearer " + app.Token(t, "ben", nil)
	s.Post("lobby", "by the new key", fresh)
	for name, got := range map[string]string{"WebSocket": caddytest.Receive(t, ann), "stream": stream.Next()} {
		var message caddytest.Envelope
		caddytest.Decode(t, got, &message)
		if message.Text() != "by the new key" || string(message.From) != `{"id":"ben"}` {
			t.Errorf("%s: %s", name, got)
		}
	}
	s.Dial("lobby", fresh)
	body, _ := json.Marshal("still there")
	if err := ann.Write(t.Context(), 1, body); err != nil {
		t.Fatal(err)
	}
	if got := caddytest.Receive(t, ann); !strings.Contains(got, `"from":{"id":"ann"}`) {
		t.Errorf("the WebSocket by the old key gets %s", got)
	}
	forged := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": "ann", "iss": "https://id.example.com", "aud": "chat", "iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix()})
	text, err := forged.SignedString([]byte(os.Getenv("JWT_SECRET")))
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"of another audience": app.Token(t, "ann", map[string]any{"aud": "mail"}),
		"of another issuer":   app.Token(t, "ann", map[string]any{"iss": "https://evil.example"}),
		"by a secret":         text,
	} {
		if resp := s.Do("POST", "/rt/lobby", "hi", "Authorization: Bearer "+token); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("a token %s: %s", name, resp.Status)
		}
	}
}
