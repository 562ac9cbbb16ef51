package requests

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

func TestRoomNames(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for _, test := range []struct {
		name, target, names string
		status              int
		room                string
	}{
		{name: "spaces", target: "/rt/two%20words", room: "two words"},
		{name: "emoji", target: "/rt/%F0%9F%A6%8A", room: "🦊"},
		{name: "slashes", target: "/rt/a/b/c", room: "a/b/c"},
		{name: "an encoded slash is a slash", target: "/rt/a%2Fb", room: "a/b"},
		{name: "a plus is a plus", target: "/rt/a+b", room: "a+b"},
		{name: "letter case of the prefix", target: "/RT/Lobby", room: "Lobby"},
		{name: "a percent sign", target: "/rt/100%25", room: "100%"},
		{name: "200 bytes", target: "/rt/" + strings.Repeat("a", 200), room: strings.Repeat("a", 200)},
		{name: "by query", target: "/rt/?room=lobby", room: "lobby"},
		{name: "dots by query", target: "/rt/?room=../x", status: 400, names: `segment \"..\"`},
		{name: "10 kB", target: "/rt/" + strings.Repeat("a", 10_000), status: 400, names: "10000 bytes"},
		{name: "trailing slash", target: "/rt/lobby/", status: 400, names: "empty segment"},
		{name: "control character", target: "/rt/a%07b", status: 400, names: "U+0007"},
		{name: "newline", target: "/rt/a%0Ab", status: 400, names: "U+000A"},
		{name: "not UTF-8", target: "/rt/a%FFb", status: 400, names: "UTF-8"},
		{name: "every byte encoded", target: "/rt/%63af%c3%a9", room: "caf\u00e9"},
		{name: "encoded twice", target: "/rt/%2563af", room: "%63af"},
		{name: "encoded twice in the query", target: "/rt/?room=%2563af%252F", room: "%63af%2F"},
		{name: "not NFC", target: "/rt/cafe%CC%81", status: 400, names: "normalization form C"},
		{name: "not NFC in the query", target: "/rt/?room=cafe%CC%81", status: 400, names: "normalization form C"},
		{name: "an invisible space", target: "/rt/lobby%E2%80%8B", status: 400, names: "format character U+200B"},
		{name: "backwards", target: "/rt/%E2%80%AElobby", status: 400, names: "format character U+202E"},
		{name: "a pattern", target: "/rt/lobby*", status: 400, names: `"*"`},
		{name: "an encoded pattern", target: "/rt/%7Buser%7D", status: 400, names: `"{"`},
		{name: "none", target: "/rt/", status: 400, names: "missing room"},
		{name: "reserved", target: "/rt/-/x", status: 404, names: ""},
		{name: "reserved by query", target: "/rt/?room=-/x", status: 400, names: "reserved"},
		{name: "two", target: "/rt/?room=a&room=b", status: 400, names: "one room"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.Do("POST", test.target, "hi")
			if test.status != 0 {
				caddytest.Refused(t, resp, test.status, strings.ReplaceAll(test.names, `\"`, `"`))
				return
			}
			if resp.StatusCode != http.StatusCreated {
				t.Fatalf("%s %s", resp.Status, caddytest.ReadAll(t, resp))
			}
			var p caddytest.Page
			caddytest.Decode(t, caddytest.ReadAll(t, s.Do("GET", test.target, "")), &p)
			if p.Room != test.room || len(p.Messages) != 1 || p.Messages[0].Room != test.room {
				t.Errorf("got %+v, want one message in %q", p, test.room)
			}
		})
	}
	// Dots in a path are cleaned by Caddy's matcher, and are not ours then.
	for _, target := range []string{"/rt/%2e%2e/x", "/rt/../x"} {
		if resp := raw(t, s, "GET "+target+" HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"); strings.Contains(resp, `"messages"`) {
			t.Errorf("%s is answered with a page: %s", target, resp)
		}
	}
}

// raw sends bytes and returns all that comes back.
func raw(t *testing.T, s *caddytest.Site, request string) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	b, _ := io.ReadAll(c)
	return string(b)
}

func TestBadInputIsNamed(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"max_message_size 100\n}")
	for _, test := range []struct {
		name, method, target, body string
		headers                    []string
		status                     int
		names                      string
	}{
		{name: "body too large", method: "POST", body: strings.Repeat("x", 101), status: 413, names: "max_message_size is 100"},
		{name: "text that is not UTF-8", method: "POST", body: "\xff", headers: []string{"Content-Type: text/plain"}, status: 400, names: "UTF-8"},
		{name: "another charset", method: "POST", body: "x", headers: []string{"Content-Type: text/plain; charset=latin1"}, status: 400, names: "latin1"},
		{name: "JSON that is none", method: "POST", body: "{", headers: []string{"Content-Type: application/json"}, status: 400, names: "JSON"},
		{name: "type that is none", method: "POST", body: "x", headers: []string{"Content-Type: /;;"}, status: 400, names: "Content-Type"},
		{name: "event with a space", method: "POST", body: "x", headers: []string{"Realtime-Event: a b"}, status: 400, names: `"a b"`},
		{name: "event reserved", method: "POST", body: "x", headers: []string{"Realtime-Event: gap"}, status: 400, names: "reserved"},
		{name: "TTL", method: "POST", body: "x", headers: []string{"TTL: soon"}, status: 400, names: "TTL"},
		{name: "TTL beyond its bound", method: "POST", body: "x", headers: []string{"TTL: 99999999999"}, status: 400, names: "TTL"},
		{name: "key too long", method: "POST", body: "x", headers: []string{"Idempotency-Key: " + strings.Repeat("k", 300)}, status: 400, names: "idempotency key"},
		{name: "cursor", method: "GET", target: "?since=nowhere", status: 400, names: "since"},
		{name: "nothing acceptable", method: "GET", headers: []string{"Accept: image/png"}, status: 406},
		{name: "method", method: "DELETE", status: 405},
		{name: "WebSocket by POST", method: "POST", headers: []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, body: "hi", status: 201},
		{name: "WebSocket version", method: "GET", headers: []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 8", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="}, status: 426, names: "13"},
		{name: "WebSocket key", method: "GET", headers: []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: short"}, status: 400, names: "Sec-WebSocket-Key"},
		{name: "unknown subprotocol", method: "GET", headers: []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "Sec-WebSocket-Protocol: foo"}, status: 400, names: "realtime.raw"},
	} {
		t.Run(test.name, func(t *testing.T) {
			resp := s.Do(test.method, "/rt/lobby"+test.target, test.body, test.headers...)
			if test.status < 400 {
				if resp.StatusCode != test.status {
					t.Errorf("got %s, want %d", resp.Status, test.status)
				}
				return
			}
			caddytest.Refused(t, resp, test.status, test.names)
			switch test.status {
			case 405:
				if got := resp.Header.Get("Allow"); got != "GET, HEAD, POST, OPTIONS" {
					t.Errorf("Allow is %q", got)
				}
			case 426:
				if got := resp.Header.Get("Sec-WebSocket-Version"); got != "13" {
					t.Errorf("Sec-WebSocket-Version is %q", got)
				}
			}
		})
	}
	if got := s.Page("lobby").Texts(); !slices.Equal(got, []string{"hi"}) {
		t.Errorf("the room holds %q: something bad was published", got)
	}
}

func TestNewRoomsOfOneAddressAreRated(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nrate 100 150\nmax_rooms 50\nroom * {\nrate off\n}\n}")
	made, limited := 0, 0
	for i := range 1000 {
		resp := s.Do("POST", fmt.Sprintf("/rt/room%d", i), "x")
		switch resp.StatusCode {
		case http.StatusCreated:
			made++
		case http.StatusTooManyRequests:
			limited++
			caddytest.Refused(t, resp, 429, "rate of new rooms")
			if resp.Header.Get("Retry-After") == "" {
				t.Fatal("429 without Retry-After")
			}
		default:
			t.Fatalf("%s %s", resp.Status, caddytest.ReadAll(t, resp))
		}
	}
	if made < 150 || limited == 0 {
		t.Errorf("%d rooms made, %d refused", made, limited)
	}
	held := 0 // each has its message
	for i := range 1000 {
		held += len(s.Page(fmt.Sprintf("room%d", i)).Messages)
	}
	if held == 0 || held > 50 {
		t.Errorf("%d rooms are held, max_rooms is 50", held)
	}
	caddytest.Eventually(t, "the server goes on", func() bool {
		return s.Do("POST", "/rt/room0", "x").StatusCode == http.StatusCreated
	})
}

func TestFullIsToldInEveryForm(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nmax_connections 1\n}")
	s.Dial("lobby")
	caddytest.Refused(t, s.Do("GET", "/rt/lobby?wait=5", ""), 503, "max_connections is 1")
	caddytest.Refused(t, s.Do("GET", "/rt/lobby", "", "Accept: application/x-ndjson"), 503, "max_connections is 1")
	if resp := s.Do("HEAD", "/rt/lobby", ""); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Errorf("HEAD: %s, want 503 with Retry-After", resp.Status)
	}
	if _, resp, err := websocket.Dial(t.Context(), s.URL+"/rt/lobby", nil); err == nil || resp.StatusCode != 503 {
		t.Errorf("WebSocket: %v, want 503", err)
	}
	l := s.Stream("lobby", "text/event-stream")
	if line := l.Next(); !strings.HasPrefix(line, "retry: ") {
		t.Errorf("SSE begins with %q, want retry", line)
	}
	if line := l.Next(); line != "event: bye" {
		t.Errorf("SSE goes on with %q, want event: bye", line)
	}
	caddytest.Refused(t, s.Do("GET", "/rt/lobby", ""), 503, "max_connections is 1")
	caddytest.Refused(t, s.Do("GET", "/rt/lobby?members=all", ""), 503, "max_connections is 1")
	s.Post("lobby", "publishing needs no connection")
}

func TestRateOfAWebSocket(t *testing.T) {
	s := caddytest.Start(t, "realtime {\nrate 1/h 2\n}")
	c := s.Dial("lobby?envelope=1")
	caddytest.ReceiveEnvelope(t, c)
	var got []string
	for i := range 20 {
		_ = c.Write(t.Context(), websocket.MessageText, []byte("x"))
		if i < 2 {
			// The end of the session would overtake what was not read yet.
			got = append(got, caddytest.ReceiveEnvelope(t, c).Op)
		}
	}
	for {
		_, b, err := c.Read(t.Context())
		if err != nil {
			if websocket.CloseStatus(err) != 4429 {
				t.Errorf("closed with %v, want 4429", err)
			}
			break
		}
		var e caddytest.Envelope
		caddytest.Decode(t, string(b), &e)
		if e.Op == "error" && (e.Status != 429 || e.Detail == "") {
			t.Errorf("got %+v, want an error 429 that names the rate", e)
		}
		got = append(got, e.Op)
	}
	if messages := len(got) - strings.Count(strings.Join(got, ","), "error"); messages != 2 || len(got) < 5 {
		t.Errorf("got %q, want 2 messages and errors", got)
	}
	raw := s.Dial("lobby")
	_ = raw.Write(t.Context(), websocket.MessageText, []byte("x"))
	if _, _, err := raw.Read(t.Context()); websocket.CloseStatus(err) != 4429 {
		t.Errorf("raw closed with %v, want 4429 at once", err)
	}
}

func TestIdempotencyAndSignalsAndOptions(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	first := s.Post("lobby", "once", "Idempotency-Key: \"k1\"")
	if again := s.Post("lobby", "once", "Idempotency-Key: k1"); again != first {
		t.Errorf("the second answer is %s, want %s", again, first)
	}
	caddytest.Refused(t, s.Do("POST", "/rt/lobby?key=k1", "twice"), 422, "idempotency key")
	if p := s.Page("lobby"); len(p.Messages) != 1 || p.Messages[0].Key != "k1" {
		t.Errorf("got %+v, want one message with its key", p)
	}

	l := s.Stream("lobby?envelope=1", "text/event-stream")
	l.Until("event: ready")
	resp := s.Do("POST", "/rt/lobby?event=typing", "", "TTL: 0")
	if body := caddytest.ReadAll(t, resp); resp.StatusCode != http.StatusAccepted || strings.Contains(body, `"id"`) || !strings.Contains(body, `"at"`) {
		t.Errorf("a signal: %s %s, want 202 with at and no id", resp.Status, body)
	}
	l.Until("event: signal")
	if data := l.Until("data: "); !strings.Contains(data, `"op":"signal","room":"lobby","event":"typing"`) {
		t.Errorf("the signal is %s", data)
	}
	s.Post("lobby", `{"n":1}`, "Content-Type: application/json", "Realtime-Event: order")
	if l.Until("event: ") != "order" {
		t.Error("the event has no name")
	}
	if p := s.Page("lobby"); len(p.Messages) != 2 || p.Messages[1].Event != "order" {
		t.Errorf("history is %+v, want two messages, no signal", p)
	}
}

func TestEchoCanBeLeftOut(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	c := s.Dial("lobby?echo=0")
	if err := c.Write(t.Context(), websocket.MessageText, []byte("own")); err != nil {
		t.Fatal(err)
	}
	caddytest.Eventually(t, "the own message", func() bool { return len(s.Page("lobby").Messages) == 1 })
	s.Post("lobby", "other")
	if got := caddytest.Receive(t, c); got != "other" {
		t.Errorf("got %q, want other", got)
	}
}

func TestHistoryZeroStillDelivers(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room * {\nhistory 0\n}\n}")
	c := s.Dial("lobby")
	cursor := s.Page("lobby").Cursor
	s.Post("lobby", "one")
	if got := caddytest.Receive(t, c); got != "one" {
		t.Errorf("live got %q", got)
	}
	if p := s.Page("lobby?since=" + cursor); !slices.Equal(p.Texts(), []string{"one"}) || p.Gap != nil {
		t.Errorf("a poll after the cursor got %+v, want one", p)
	}
	if p := s.Page("lobby"); len(p.Messages) != 0 {
		t.Errorf("a new page has %q, want no history", p.Texts())
	}
}

func TestErrorRoutesDecideHowErrorsLook(t *testing.T) {
	s := caddytest.Start(t, "realtime\nhandle_errors {\nrespond \"{err.status_code}: {err.message}\" {err.status_code}\n}")
	resp := s.Do("GET", "/rt/a//b", "")
	if body := caddytest.ReadAll(t, resp); resp.StatusCode != 400 || !strings.HasPrefix(body, "400: ") || !strings.Contains(body, "empty segment") {
		t.Errorf("got %s %q", resp.Status, body)
	}
}

func TestOthersPathsGoToTheNextHandler(t *testing.T) {
	s := caddytest.Start(t, "realtime\nrespond \"next\"")
	for target, want := range map[string]string{"/": "next", "/rt": "next", "/rtx/lobby": "next", "/a/rt/b": "next"} {
		if got := caddytest.ReadAll(t, s.Do("GET", target, "")); got != want {
			t.Errorf("%s: %q, want %q", target, got, want)
		}
	}
}

func TestFromIsTheAuthenticatedUser(t *testing.T) {
	// The password is "secret".
	s := caddytest.Start(t, annOnly+"realtime {\n"+caddytest.Open+"}")
	if resp := s.Do("POST", "/rt/lobby", "x"); resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("without a password: %s", resp.Status)
	}
	s.Post("lobby", `{"from":"me"}`, ann, "Content-Type: application/json")
	p := s.Page("lobby", ann)
	if got := string(p.Messages[0].From); got != `{"id":"ann"}` {
		t.Errorf("from is %s, want ann", got)
	}
	var data map[string]string
	if err := json.Unmarshal(p.Messages[0].Data, &data); err != nil || data["from"] != "me" {
		t.Errorf("data is %s", p.Messages[0].Data)
	}
}

func TestFrameThatIsCutInTheMiddle(t *testing.T) {
	s, logged := caddytest.StartLogged(t, "realtime {\n"+caddytest.Open+"room * {\npresence on off\n}\n}")
	members := func() string { return s.Do("HEAD", "/rt/lobby", "").Header.Get("Realtime-Members") }
	c, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_, _ = io.WriteString(c, "GET /rt/lobby HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n\x81\x85\x00\x00\x00\x00he")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("handshake: %v %v", resp, err)
	}
	caddytest.Eventually(t, "one member", func() bool { return members() == "1" })
	_ = c.Close()
	caddytest.Eventually(t, "no member", func() bool { return members() == "0" })
	if got := s.Page("lobby").Texts(); len(got) != 0 {
		t.Errorf("half a message was published: %q", got)
	}
	caddytest.Eventually(t, "the end", func() bool { return len(logged("connection ended")) > 0 })
	if ended := logged("connection ended"); len(ended) != 1 || ended[0]["cause"] != "gone" {
		t.Errorf("endings are %v, want one gone", ended)
	}
}

// Answers to commands by POST are bounded, too.
func TestAnswersOfCommandsAreBounded(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"}")
	for range 4 {
		s.Post("lobby", strings.Repeat("\x01", 60_000))
	}
	lines := make([]string, 20)
	for i := range lines {
		lines[i] = `{"op":"history","room":"lobby","limit":1}`
	}
	lines = append(lines, `{"op":"publish","room":"lobby","data":"goes on"}`)
	answers := s.Commands("", lines...)
	if len(answers) != len(lines) || answers[0].Op != "ok" || answers[len(lines)-1].Op != "ok" {
		t.Fatalf("%d answers", len(answers))
	}
	if last := answers[len(lines)-2]; last.Status != 413 || !strings.Contains(last.Detail, "another") {
		t.Errorf("the last history is answered with %+v", last)
	}
}
