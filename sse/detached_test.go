package sse_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
	"github.com/caddy-realtime/realtime/sse"
)

// site is a real server whose streams leave net/http.
type site struct {
	t      *testing.T
	hub    *hub.Hub
	group  outbound.Group
	poller netpoll.Poller
	url    string
}

// detach runs the test with connections that are parked, and with such that
// keep a goroutine.
func detach(t *testing.T, change func(*sse.Options), test func(*testing.T, *site)) {
	for _, goroutines := range []bool{false, true} {
		t.Run(fmt.Sprint("goroutines ", goroutines), func(t *testing.T) {
			set := settings.Defaults()
			set.Rate = limit.Unlimited
			set.MaxMessageSize = 1 << 20
			h, err := hub.New(set, hub.NewMemory())
			if err != nil {
				t.Fatal(err)
			}
			s := &site{t: t, hub: h, poller: netpoll.Poller{Goroutines: goroutines}}
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				o := sse.Options{Hub: h, Group: &s.group, Poller: &s.poller, Attached: hub.NewAttached(h), Rooms: one(room), Format: sse.Events{}}
				change(&o)
				w.Header().Set("X-Chain", "kept")
				if err := sse.Serve(w, r, o); err != nil {
					http.Error(w, err.Error(), http.StatusServiceUnavailable)
				}
			}))
			s.url = web.URL
			t.Cleanup(func() {
				if err := h.Close(context.Background()); err != nil {
					t.Error(err)
				}
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				defer cancel()
				s.group.Wait(ctx)
				s.poller.Close()
				web.Close()
				if n := h.Stats().Sessions; n != 0 || s.group.Len() != 0 {
					t.Errorf("%d sessions, %d connections are left", n, s.group.Len())
				}
			})
			test(t, s)
		})
	}
}

// get opens a stream on a connection of its own.
func (s *site) get() (*http.Response, *bufio.Reader) {
	s.t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(s.url)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return resp, bufio.NewReader(resp.Body)
}

func (s *site) publish(text string) {
	s.t.Helper()
	p := hub.Publication{Room: room, Kind: message.Text, Data: []byte(text)}
	if _, err := s.hub.Caller(hub.Client{}).Publish(s.t.Context(), p); err != nil {
		s.t.Fatal(err)
	}
}

// until reads up to a line with the beginning, and returns its rest.
func until(t *testing.T, r *bufio.Reader, beginning string) string {
	t.Helper()
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("waiting for %q: %v", beginning, err)
		}
		if rest, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), beginning); ok {
			return rest
		}
	}
}

func (s *site) ended(cause hub.Cause) {
	s.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for s.hub.Stats().Endings[cause] == 0 || s.group.Len() > 0 {
		if time.Now().After(deadline) {
			s.t.Fatalf("endings %v, want %v", s.hub.Stats().Endings, cause)
		}
		<-time.After(time.Millisecond)
	}
}

func events(*sse.Options) {}

func TestDetached(t *testing.T) {
	detach(t, events, func(t *testing.T, s *site) {
		resp, r := s.get()
		if h := resp.Header; h.Get("Content-Type") != "text/event-stream" || h.Get("X-Chain") != "kept" || h.Get("Date") == "" {
			t.Errorf("headers %v", h)
		}
		until(t, r, "retry: ")
		for _, size := range []int{1, 4070, 4096, 65_400, 65_536, 300_000} {
			text := strings.Repeat("*", size)
			s.publish(text)
			if got := until(t, r, "data: "); got != text {
				t.Errorf("%d bytes, want %d", len(got), size)
			}
		}
		for i := range 300 {
			s.publish(fmt.Sprint(i))
		}
		for i := range 300 {
			if got := until(t, r, "data: "); got != fmt.Sprint(i) {
				t.Fatalf("got %.20q, want %d", got, i)
			}
		}
		s.hub.Sessions()[0].End(hub.CauseDraining)
		until(t, r, "retry: ")
		if rest, err := io.ReadAll(r); err != nil || strings.TrimSpace(string(rest)) != "" {
			t.Errorf("it ends with %q, %v", rest, err)
		}
		s.ended(hub.CauseDraining)
	})
}

func TestDetachedClientGoes(t *testing.T) {
	detach(t, events, func(t *testing.T, s *site) {
		resp, r := s.get()
		until(t, r, "retry: ")
		resp.Body.Close()
		s.ended(hub.CauseLeft)
	})
}

func TestDetachedHeartbeat(t *testing.T) {
	detach(t, func(o *sse.Options) { o.Heartbeat, o.Format = 20*time.Millisecond, sse.Lines{} }, func(t *testing.T, s *site) {
		_, r := s.get()
		until(t, r, `{"op":"ready"`)
		for range 3 {
			if line, err := r.ReadString('\n'); err != nil || line != "\n" {
				t.Fatalf("got %q, %v", line, err)
			}
		}
	})
}

// Data that a client sends after its request is discarded, up to a limit.
func TestDetachedClientGoesOnSending(t *testing.T) {
	detach(t, events, func(t *testing.T, s *site) {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(nc)
		until(t, r, "retry: ")
		if _, err := io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		s.publish("still there")
		until(t, r, "data: still there")
		for range 1000 {
			if _, err = nc.Write(make([]byte, 4096)); err != nil {
				break
			}
		}
		s.ended(hub.CauseLeft)
	})
}

// HTTP/1.0 knows no chunks: its streams stay in the handler.
func TestHTTP10(t *testing.T) {
	detach(t, func(*sse.Options) {}, func(t *testing.T, s *site) {
		nc, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		if _, err := io.WriteString(nc, "GET / HTTP/1.0\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		r := bufio.NewReader(nc)
		until(t, r, "retry: ")
		s.publish("old")
		until(t, r, "data: old")
		if n := s.group.Len(); n != 0 {
			t.Errorf("%d connections have left net/http", n)
		}
		nc.Close()
	})
}

func TestDetachedRefused(t *testing.T) {
	detach(t, func(o *sse.Options) { o.Rooms = one("a//b") }, func(t *testing.T, s *site) {
		if resp, _ := s.get(); resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s", resp.Status)
		}
		if n := s.hub.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions", n)
		}
	})
}
