package e2e

import (
	"fmt"
	"slices"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

// ways are networks that let one transport through.
var ways = []struct {
	transport string
	upgrade   faultproxy.UpgradeMode
	hold      faultproxy.Hold
}{
	{"websocket", faultproxy.UpgradePass, faultproxy.HoldNothing},
	{"sse", faultproxy.UpgradeRefused, faultproxy.HoldNothing},
	{"poll", faultproxy.UpgradeRefused, faultproxy.HoldBody},
}

// A RealtimeSocket is used as a WebSocket is, and works where none gets through.
func TestRealtimeSocket(t *testing.T) {
	caddy := startSite(t)
	for _, test := range ways {
		t.Run(test.transport, func(t *testing.T) {
			t.Parallel()
			s := caddy.another(t)
			s.BlockUpgrade(test.upgrade)
			s.Buffer(test.hold, 0)
			s.post(t, room(t), `"not asked for"`)
			s.post(t, room(t), `"before"`)
			ann := openPage(t, s.URL()+"/e2e/blank", "Ann")
			openSocket(t, ann)
			ann.eval(`got.length = 0;
				socket.send('text');
				socket.send(new Uint8Array([1, 2, 255]).buffer);
				socket.send(new Uint8Array([7, 8, 9]).subarray(1));
				socket.send(new Blob([new Uint8Array([10])]));
				socket.send('{"a": 1}');
				socket.send('last')`)
			ann.wait(`got.includes('last')`)
			s.post(t, room(t), `{"n":1}`)
			ann.wait(`got.length === 7`)
			if got, want := js[[]string](ann, `got`), []string{"text", "bytes 1,2,255", "bytes 8,9", "bytes 10", `{"a": 1}`, "last", `{"n":1}`}; !slices.Equal(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			cutSocket(t, s, ann)
			ann.wait(`socket.bufferedAmount === 0`)
			ann.eval(`socket.send('good bye'); socket.close(1000)`)
			ann.wait(`got.at(-1) === 'close 1000 true' && socket.readyState === 3`)
			s.post(t, room(t), `"too late"`)
			if got := js[[]string](ann, `got`); slices.Contains(got, "error") {
				t.Errorf("got %q", got)
			}
		})
	}
}

// openSocket opens a RealtimeSocket, and checks how it begins.
func openSocket(t *testing.T, ann *chatPage) {
	t.Helper()
	ann.eval(fmt.Sprintf(`window.got = [];
		import('/rt/-/realtime-socket.js').then(({ RealtimeSocket }) => {
			window.RealtimeSocket = RealtimeSocket;
			window.socket = new RealtimeSocket(location.origin.replace('http', 'ws') + '/rt/%s?last=1');
			socket.binaryType = 'arraybuffer';
			got.push('state ' + socket.readyState);
			socket.onopen = () => got.push('open ' + socket.readyState);
			socket.onmessage = ({ data }) => got.push(typeof data === 'string' ? data : 'bytes ' + new Uint8Array(data));
			socket.addEventListener('message', ({ target, type }) => got.push(type + ' ' + (target === socket)), { once: true });
			socket.onerror = () => got.push('error');
			socket.onclose = ({ code, wasClean }) => got.push('close ' + code + ' ' + wasClean);
		})`, room(t)))
	ann.wait(`got.includes('"before"') || got.includes('before')`)
	before := js[[]string](ann, `got`)
	if len(before) < 4 || !slices.Equal(before[:2], []string{"state 0", "open 1"}) || before[3] != "message true" {
		t.Errorf("it began with %q", before)
	}
	if missing := js[[]string](ann, `Object.getOwnPropertyNames(WebSocket.prototype).filter((name) => !(name in socket)).concat(
		Object.getOwnPropertyNames(WebSocket).filter((name) => !(name in RealtimeSocket)))`); len(missing) > 0 {
		t.Errorf("unlike a WebSocket it has no %q", missing)
	}
}

// cutSocket checks that a RealtimeSocket comes back by itself, and misses nothing.
func cutSocket(t *testing.T, s *site, ann *chatPage) {
	t.Helper()
	s.Refuse()
	s.Cut(faultproxy.RST)
	s.post(t, room(t), `{"n":2}`)
	ann.eval(`socket.send('meanwhile')`)
	if n := js[int](ann, `socket.bufferedAmount`); n < 9 {
		t.Errorf("bufferedAmount is %d while it is cut off", n)
	}
	s.Resume()
	ann.wait(`got.length === 9`)
	if got := js[[]string](ann, `got.slice(-2)`); !slices.Equal(got, []string{`{"n":2}`, "meanwhile"}) {
		t.Errorf("after a cut got %q", got)
	}
}
