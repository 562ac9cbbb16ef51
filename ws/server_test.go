package ws_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws"
)

const room = "lobby"

// server serves one room to WebSockets.
type server struct {
	hub     *hub.Hub
	group   *outbound.Group
	options ws.Options
	addr    string                                        // of a real server
	secure  bool                                          // which speaks TLS
	wrap    func(http.ResponseWriter) http.ResponseWriter // stands between net/http and us; nil: nothing
}

// configured returns the defaults without rates, changed by change.
func configured(change ...func(*settings.Settings)) *settings.Settings {
	s := settings.Defaults()
	s.Rate = limit.Unlimited
	s.MaxPerAddress = settings.Off
	for _, f := range change {
		f(s)
	}
	return s
}

// rated returns a change of settings: a burst, and nothing after it.
func rated(burst int) func(*settings.Settings) {
	return func(s *settings.Settings) { s.Rate = limit.Rate{PerSecond: 1e-6, Burst: burst} }
}

// newServer returns a server without sockets, for bubbles: see open.
func newServer(t testing.TB, set *settings.Settings, change ...func(*ws.Options)) *server {
	t.Helper()
	return newServerOn(t, hub.NewMemory(), set, change...)
}

// newServerOn does so with another engine.
func newServerOn(t testing.TB, e hub.Engine, set *settings.Settings, change ...func(*ws.Options)) *server {
	t.Helper()
	h, err := hub.New(set, e)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{hub: h, group: new(outbound.Group)}
	s.options = ws.Options{Hub: h, Group: s.group, Poller: new(netpoll.Poller), Rooms: []protocol.JoinRequest{{Room: room}}}
	t.Cleanup(s.options.Poller.Close)
	for _, f := range change {
		f(&s.options)
	}
	t.Cleanup(func() {
		if err := h.Close(context.Background()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		s.group.Wait(ctx)
		if ctx.Err() != nil {
			t.Error("a connection does not end")
		}
		if st := h.Stats(); st.Sessions != 0 || s.group.Len() != 0 {
			t.Errorf("%d sessions and %d connections are left", st.Sessions, s.group.Len())
		}
	})
	return s
}

func envelope(o *ws.Options) { o.Envelope = true }

// listen returns a server on a real socket.
func listen(t testing.TB, set *settings.Settings, change ...func(*ws.Options)) *server {
	t.Helper()
	s := newServer(t, set, change...)
	s.serve(t, false)
	return s
}

// serve opens a real socket.
func (s *server) serve(t testing.TB, secure bool) {
	t.Helper()
	web := httptest.NewUnstartedServer(s)
	if s.secure = secure; secure {
		web.StartTLS()
	} else {
		web.Start()
	}
	t.Cleanup(web.Close)
	s.addr = web.Listener.Addr().String()
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.wrap != nil {
		w = s.wrap(w)
	}
	err := ws.CheckHandshake(r, w.Header())
	if err == nil {
		err = ws.Serve(w, r, s.options)
	}
	if err != nil {
		p := protocol.ProblemOf(err)
		http.Error(w, p.Error(), p.Status)
	}
}

// handshake returns a request that asks for a WebSocket.
func handshake() *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/rt/"+room, nil)
	r.Header.Set("Connection", "keep-alive, Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", base64.StdEncoding.EncodeToString([]byte("the sample nonce")))
	return r
}

// dial connects by TCP, and sends what is early in the handshake's segment.
func (s *server) dial(t testing.TB, early ...[]byte) *client {
	t.Helper()
	return s.dialWith(t, "", early...)
}

// dialWith is dial with one more header, such as "Name: value".
func (s *server) dialWith(t testing.TB, extra string, early ...[]byte) *client {
	t.Helper()
	nc, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	if s.secure {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true})
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, nc: nc, br: bufio.NewReader(nc)}
	var request strings.Builder
	r := handshake()
	if name, value, ok := strings.Cut(extra, ": "); ok {
		r.Header.Set(name, value)
	}
	if err := r.Write(&request); err != nil {
		t.Fatal(err)
	}
	c.send(append([][]byte{[]byte(request.String())}, early...)...)
	answer, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatal(err)
	}
	// The answer to the sample of RFC 6455, section 1.3.
	if got := answer.Header.Get("Sec-WebSocket-Accept"); answer.StatusCode != http.StatusSwitchingProtocols || got != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
		t.Fatalf("handshake: %s, accept %q", answer.Status, got)
	}
	return c
}

// open connects through a pipe, as if the handshake had been.
func (s *server) open(t testing.TB) *client {
	t.Helper()
	far, near := net.Pipe()
	t.Cleanup(func() { near.Close() })
	if err := ws.Serve(&upgrader{httptest.NewRecorder(), far}, handshake(), s.options); err != nil {
		t.Fatal(err)
	}
	return &client{t: t, nc: near, br: bufio.NewReader(near)}
}

// upgrader is a ResponseWriter that gives its connection away.
type upgrader struct {
	*httptest.ResponseRecorder
	nc net.Conn
}

func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return u.nc, bufio.NewReadWriter(bufio.NewReader(u.nc), bufio.NewWriter(u.nc)), nil
}

// bubble runs f with a server in a bubble of fake time.
func bubble(t *testing.T, set *settings.Settings, change func(*ws.Options), f func(*testing.T, *server)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newServer(t, set, change)) })
}

// ended waits until the only session has ended, and checks why.
func (s *server) ended(t testing.TB, cause hub.Cause) {
	t.Helper()
	eventually(t, "the session ends", func() bool { return s.hub.Stats().Sessions == 0 })
	if got := s.hub.Stats().Endings; got[cause] != 1 || len(got) != 1 {
		t.Errorf("endings %v, want one of cause %v", got, cause)
	}
}

func publish(t testing.TB, h *hub.Hub, kind hub.Kind, data string) {
	t.Helper()
	if _, err := h.Caller(hub.Client{}).Publish(context.Background(), hub.Publication{Room: room, Kind: kind, Data: []byte(data)}); err != nil {
		t.Error(err)
	}
}
