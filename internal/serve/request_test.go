package serve

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
)

// upgrade are the headers of a WebSocket's handshake, separated by bars.
const upgrade = "Connection: keep-alive, Upgrade|Upgrade: websocket|Sec-WebSocket-Key: x"

// justPage is what a request gets that asks for nothing else.
var justPage = request{mode: modePage, limit: 50}

// negotiations are requests, with headers separated by bars, and what they ask for.
var negotiations = []struct {
	name, method, target, headers string
	want                          request
	status                        int
	detail                        string // part of the problem's
}{
	{name: "nothing said", want: justPage},
	{name: "anything", headers: "Accept: */*", want: justPage},
	{name: "JSON", headers: "Accept: application/json", want: justPage},
	{name: "a person's browser", headers: "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", want: justPage},
	{name: "SSE", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50}},
	{name: "NDJSON", headers: "Accept: application/x-ndjson", want: request{mode: modeLines, limit: 50}},
	{name: "named before wildcard", headers: "Accept: */*, text/event-stream", want: request{mode: modeEvents, limit: 50}},
	{name: "best quality", headers: "Accept: text/event-stream;q=0.5, application/x-ndjson;q=0.9, application/json;q=0.1", want: request{mode: modeLines, limit: 50}},
	{name: "quality 0 is no", headers: "Accept: application/json;q=0, */*;q=0.1", want: request{mode: modeEvents, limit: 50}},
	{name: "order decides a tie", headers: "Accept: application/x-ndjson, text/event-stream", want: request{mode: modeLines, limit: 50}},
	{name: "specific range decides over a wildcard's quality", headers: "Accept: text/*;q=0.9, text/event-stream;q=0.1, application/json;q=0.5", want: justPage},
	{name: "nothing fits", headers: "Accept: image/png", status: 406, detail: "text/event-stream"},
	{name: "HTML alone", headers: "Accept: text/html", status: 406},
	{name: "rubbish is as nothing", headers: "Accept: rubbish", want: justPage},

	{name: "WebSocket", headers: upgrade, want: request{mode: modeWebSocket, limit: 50}},
	{name: "upgrade before Accept", headers: upgrade + "|Accept: text/event-stream", want: request{mode: modeWebSocket, limit: 50}},
	{name: "robbed of its upgrade", headers: "Sec-WebSocket-Key: x", want: request{mode: modeWebSocket, limit: 50}},
	{name: "other upgrade", headers: "Connection: Upgrade|Upgrade: h2c", want: justPage},
	{name: "raw by name", headers: upgrade + "|Sec-WebSocket-Protocol: x, realtime.raw", want: request{mode: modeWebSocket, limit: 50, subprotocol: "realtime.raw"}},
	{name: "first known of the offered", headers: upgrade + "|Sec-WebSocket-Protocol: superchat|Sec-WebSocket-Protocol: chat", want: request{mode: modeWebSocket, limit: 50, subprotocol: "superchat"}},
	{name: "none known", headers: upgrade + "|Sec-WebSocket-Protocol: foo", status: 400, detail: "realtime.raw, chat, superchat"},
	{name: "case counts", headers: upgrade + "|Sec-WebSocket-Protocol: Chat", status: 400},
	{name: "extended CONNECT", method: "CONNECT", headers: ":protocol: websocket", status: 501},

	{name: "HEAD", method: "HEAD", want: request{mode: modeHead, limit: 50}},
	{name: "POST", method: "POST", want: request{mode: modePublish, limit: 50}},
	{name: "curl -d", method: "POST", headers: "Content-Type: application/x-www-form-urlencoded|Accept: */*", want: request{mode: modePublish, limit: 50}},
	{name: "a page's form", method: "POST", headers: "Content-Type: application/x-www-form-urlencoded; charset=UTF-8|Accept: text/html,*/*;q=0.8", want: request{mode: modeForm, limit: 50}},
	{name: "OPTIONS", method: "OPTIONS", want: request{mode: modePreflight, limit: 50}},
	{name: "PATCH", method: "PATCH", status: 405},
	{name: "DELETE", method: "DELETE", status: 405},
	{name: "PUT", method: "PUT", status: 405},

	{name: "since", target: "?since=e.5", want: request{mode: modePage, limit: 50, after: hub.Position{Epoch: "e", Offset: 5}}},
	{name: "header before since", target: "?since=e.5", headers: "Accept: text/event-stream|Last-Event-ID: e.7", want: request{mode: modeEvents, limit: 50, after: hub.Position{Epoch: "e", Offset: 7}}},
	{name: "since before If-None-Match", target: "?since=e.5", headers: `If-None-Match: "e.9"`, want: request{mode: modePage, limit: 50, after: hub.Position{Epoch: "e", Offset: 5}}},
	{name: "If-None-Match", headers: `If-None-Match: "e.9"`, want: request{mode: modePage, limit: 50, after: hub.Position{Epoch: "e", Offset: 9}, conditional: true}},
	{name: "If-None-Match, weak and in a list", headers: `If-None-Match: "other", W/"e.9"`, want: request{mode: modePage, limit: 50, after: hub.Position{Epoch: "e", Offset: 9}, conditional: true}},
	{name: "If-None-Match not ours", headers: `If-None-Match: "other", *, e.9`, want: justPage},
	{name: "If-None-Match is for pages", headers: `Accept: text/event-stream|If-None-Match: "e.9"`, want: request{mode: modeEvents, limit: 50}},
	{name: "Last-Event-ID not ours", headers: "Accept: text/event-stream|Last-Event-ID: 42", want: request{mode: modeEvents, limit: 50, invalidCursor: true}},
	{name: "since not ours", target: "?since=42", status: 400, detail: "since"},
	{name: "since not ours, on a stream", target: "?since=42", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, invalidCursor: true}},
	{name: "since not ours, in lines", target: "?since=42", headers: "Accept: application/x-ndjson", want: request{mode: modeLines, limit: 50, invalidCursor: true}},
	{name: "since not ours, on a WebSocket", target: "?since=42", headers: upgrade, want: request{mode: modeWebSocket, limit: 50, invalidCursor: true}},
	{name: "since not ours, in a waiting poll", target: "?since=42&wait=5", want: request{mode: modePage, limit: 50, invalidCursor: true, wait: 5 * time.Second}},
	{name: "Last-Event-ID not ours, on a page", headers: "Last-Event-ID: 42", status: 400, detail: "Last-Event-ID"},
	{name: "cursor too long, on a stream", target: "?since=e." + strings.Repeat("1", 20_000), headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, invalidCursor: true}},
	{name: "lastEventId", target: "?since=e.5&lastEventId=e.7", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, after: pos(7)}},
	{name: "last-event-id", target: "?last-event-id=e.7", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, after: pos(7)}},
	{name: "lastEventID", target: "?lastEventID=e.7&last=5", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, after: pos(7)}},
	{name: "Last-Event-ID in the query", target: "?Last-Event-ID=e.7", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, after: pos(7)}},
	{name: "lastEventId is empty", target: "?since=e.5&lastEventId=", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, after: pos(5)}},
	{name: "lastEventId not ours", target: "?since=e.5&lastEventId=7", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, invalidCursor: true}},
	{name: "Last-Event-ID before lastEventId", target: "?lastEventId=e.5", headers: "Last-Event-ID: e.7", want: request{mode: modePage, limit: 50, after: pos(7)}},
	{name: "If-None-Match, compressed", headers: `If-None-Match: W/"e.9-gzip"`, want: request{mode: modePage, limit: 50, after: pos(9), conditional: true}},
	{name: "If-None-Match, compressed with brotli", headers: `If-None-Match: "x", "e.9-br"`, want: request{mode: modePage, limit: 50, after: pos(9), conditional: true}},
	{name: "If-None-Match of several rooms, compressed", headers: `If-None-Match: "a=e.5-zstd"`, want: request{mode: modePage, limit: 50, conditional: true, cursors: protocol.CursorSet{{Room: "a", Position: pos(5)}}}},
	{name: "since is empty", target: "?since=", want: justPage},
	{name: "cursor too long", target: "?since=e." + strings.Repeat("1", 20_000), status: 400, detail: "at most 16384 bytes"},
	{name: "last n", target: "?last=20", want: request{mode: modePage, limit: 50, last: 20}},
	{name: "last d", target: "?last=10m", want: request{mode: modePage, limit: 50, age: 10 * time.Minute}},
	{name: "last in days", target: "?last=2d", want: request{mode: modePage, limit: 50, age: 48 * time.Hour}},
	{name: "last is ignored beside a cursor", target: "?last=20&since=e.5", want: request{mode: modePage, limit: 50, after: hub.Position{Epoch: "e", Offset: 5}}},
	{name: "last is nothing", target: "?last=some", status: 400, detail: "last=some"},
	{name: "last is negative", target: "?last=-1", status: 400},
	{name: "before", target: "?before=e.5&limit=10", want: request{mode: modePage, limit: 10, before: hub.Position{Epoch: "e", Offset: 5}}},
	{name: "before is for pages", target: "?before=e.5", headers: "Accept: text/event-stream", status: 400, detail: "before"},
	{name: "before is nothing", target: "?before=x", status: 400},

	{name: "wait", target: "?wait=25", want: request{mode: modePage, limit: 50, wait: 25 * time.Second}},
	{name: "Prefer", headers: "Prefer: respond-async, wait=20", want: request{mode: modePage, limit: 50, wait: 20 * time.Second}},
	{name: "wait at most a minute", target: "?wait=1000", want: request{mode: modePage, limit: 50, wait: time.Minute}},
	{name: "wait is nothing", target: "?wait=long", status: 400, detail: "wait"},
	{name: "a preference that is nothing is ignored", headers: "Prefer: wait=long", want: justPage},
	{name: "limit", target: "?limit=10", want: request{mode: modePage, limit: 10}},
	{name: "limit at most 1000", target: "?limit=5000", want: request{mode: modePage, limit: 1000}},
	{name: "limit 0", target: "?limit=0", status: 400, detail: "limit"},
	{name: "envelope", target: "?envelope=1&echo=0", want: request{mode: modePage, limit: 50, envelope: true, noEcho: true}},
	{name: "envelope is nothing", target: "?envelope=maybe", status: 400, detail: "envelope"},
	{name: "query is nothing", target: "?%zz", status: 400, detail: "query"},
	{name: "several rooms", target: "?since=a=e.5,b%252Fc=e.6", want: request{mode: modePage, limit: 50, cursors: protocol.CursorSet{{Room: "a", Position: pos(5)}, {Room: "b/c", Position: pos(6)}}}},
	{name: "last beside several rooms is for those it does not name", target: "?last=3&since=a=e.5", want: request{mode: modePage, limit: 50, last: 3, cursors: protocol.CursorSet{{Room: "a", Position: pos(5)}}}},
	{name: "If-None-Match of several rooms", headers: `If-None-Match: "x", "a=e.5,b=e.6"`, want: request{mode: modePage, limit: 50, conditional: true, cursors: protocol.CursorSet{{Room: "a", Position: pos(5)}, {Room: "b", Position: pos(6)}}}},
	{name: "several rooms, half of them not ours", target: "?since=a=e.5,b", status: 400, detail: "since"},
	{name: "members", target: "?members", want: request{mode: modePage, limit: 50, members: true, presence: hub.PresenceSome}},
	{name: "all members", target: "?members=all", headers: "Accept: text/event-stream", want: request{mode: modeEvents, limit: 50, members: true, presence: hub.PresenceAll}},
	{name: "members by WebSocket", target: "?members", headers: upgrade, status: 400, detail: "members"},
	{name: "state", target: `?state={"a":+1}`, want: request{mode: modePage, limit: 50, state: []byte(`{"a": 1}`), presence: hub.PresenceSome, answers: true}},
	{name: "state untold", target: "?state=1&presence=0", want: request{mode: modePage, limit: 50, state: []byte(`1`), answers: true}},
	{name: "presence since", target: "?presence=e.5", want: request{mode: modePage, limit: 50, presence: hub.PresenceSome, presenceCursor: pos(5), answers: true}},
	{name: "presence is nothing", target: "?presence=yes", status: 400, detail: "presence"},
	{name: "conn", target: "?conn=c9", want: request{mode: modePage, limit: 50, conn: "c9"}},
	{name: "conn in a header", target: "?conn=c9", headers: "Realtime-Conn: c8", want: request{mode: modePage, limit: 50, conn: "c8"}},
	{name: "session", headers: upgrade + "|Sec-WebSocket-Protocol: realtime.v1", want: request{mode: modeWebSocket, limit: 50, subprotocol: "realtime.v1", presence: hub.PresenceSome}},
	{name: "commands", method: "POST", headers: "Content-Type: application/x-ndjson", want: request{mode: modeCommands, limit: 50}},
	{name: "commands without a header", method: "POST", target: "?commands=1", headers: "Content-Type: text/plain", want: request{mode: modeCommands, limit: 50}},
	{name: "lines for a room", method: "POST", target: "?room=a", headers: "Content-Type: application/x-ndjson", want: request{mode: modePublish, limit: 50}},
}

func TestNegotiate(t *testing.T) {
	for _, test := range negotiations {
		t.Run(test.name, func(t *testing.T) {
			method := test.method
			if method == "" {
				method = http.MethodGet
			}
			r := httptest.NewRequest(method, "/rt/lobby", nil)
			r.URL.RawQuery = strings.TrimPrefix(test.target, "?")
			for line := range strings.SplitSeq(test.headers, "|") {
				if name, value, ok := strings.Cut(line, ": "); ok {
					r.Header.Add(name, value)
				}
			}
			got, err := parseRequest(r, []string{"chat", "superchat"})
			if test.status == 0 {
				if err != nil || !reflect.DeepEqual(got, test.want) {
					t.Errorf("got %+v, %v\nwant %+v", got, err, test.want)
				}
				return
			}
			var p *protocol.Problem
			if !errors.As(err, &p) || p.Status != test.status || !strings.Contains(p.Detail, test.detail) {
				t.Errorf("got %+v, %v\nwant status %d with %q", got, err, test.status, test.detail)
			}
		})
	}
}

// pos returns a place in the epoch e.
func pos(offset uint64) hub.Position { return hub.Position{Epoch: "e", Offset: offset} }

func FuzzNegotiate(f *testing.F) {
	f.Add("GET", "since=e.1&last=2&wait=3", "text/event-stream;q=0.1", `"e.1"`, "wait=2")
	f.Add("POST", "ttl=0", "*/*", "W/", ";")
	f.Fuzz(func(t *testing.T, method, query, accept, tag, prefer string) {
		r := httptest.NewRequest(http.MethodGet, "/rt/lobby", nil)
		r.Method, r.URL.RawQuery = method, query
		r.Header.Set("Accept", accept)
		r.Header.Set("If-None-Match", tag)
		r.Header.Set("Last-Event-Id", tag)
		r.Header.Set("Prefer", prefer)
		r.Header.Set("Sec-Websocket-Protocol", accept)
		w, err := parseRequest(r, []string{"chat"})
		var p *protocol.Problem
		if err != nil && !errors.As(err, &p) {
			t.Fatalf("%v is no problem", err)
		}
		if err == nil && (w.limit < 1 || w.limit > maxLimit || w.wait < 0 || w.wait > maxWait || w.last < 0 || w.age < 0) {
			t.Fatalf("out of bounds: %+v", w)
		}
	})
}
