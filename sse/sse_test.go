package sse_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
)

const room = "lobby"

var errBroken = errors.New("the connection broke")

// writer is a ResponseWriter that shows what was flushed, and can be made to fail.
type writer struct {
	header http.Header
	status int

	mu       sync.Mutex
	deadline time.Time
	buffered string
	flushed  string
	broken   bool          // writes fail
	flushing bool          // flushes fail
	each     time.Duration // what a write takes
	perByte  time.Duration // and what each byte of it takes
	most     int           // bytes of the largest write
}

func (w *writer) Header() http.Header { return w.header }

func (w *writer) WriteHeader(status int) { w.status = status }

func (w *writer) Write(p []byte) (int, error) {
	w.mu.Lock()
	each, deadline, broken := w.each+time.Duration(len(p))*w.perByte, w.deadline, w.broken
	w.mu.Unlock()
	if broken {
		return 0, errBroken
	}
	if left := time.Until(deadline); each > left {
		<-time.After(left)
		return 0, fmt.Errorf("write: %w", os.ErrDeadlineExceeded)
	}
	<-time.After(each)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buffered += string(p)
	w.most = max(w.most, len(p))
	return len(p), nil
}

func (w *writer) FlushError() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.flushing {
		return errBroken
	}
	w.flushed, w.buffered = w.flushed+w.buffered, ""
	return nil
}

func (w *writer) SetWriteDeadline(d time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = d
	return nil
}

// take returns what was flushed since the last call.
func (w *writer) take() string {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.flushed
	w.flushed = ""
	return s
}

func (w *writer) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
}

// stream is one stream that is served in a bubble.
type stream struct {
	*writer
	t        *testing.T
	hub      *hub.Hub
	cancel   context.CancelFunc
	attached *hub.Attached
	done     chan struct{}
}

// bubble runs f with a stream in a bubble of fake time.
func bubble(t *testing.T, change func(*sse.Options), f func(*testing.T, *stream)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		set := settings.Defaults()
		set.Rate = limit.Unlimited
		h, err := hub.New(set, hub.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		s := &stream{
			writer: &writer{header: make(http.Header)}, t: t, hub: h, cancel: cancel,
			attached: hub.NewAttached(h), done: make(chan struct{}),
		}
		o := sse.Options{Hub: h, Attached: s.attached, Rooms: one(room), Format: sse.Events{}}
		if change != nil {
			change(&o)
		}
		go func() {
			defer close(s.done)
			r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil)
			if err := sse.Serve(s.writer, r, o); err != nil {
				t.Errorf("refused: %v", err)
			}
		}()
		t.Cleanup(func() {
			cancel()
			<-s.done
			if err := h.Close(context.Background()); err != nil {
				t.Error(err)
			}
		})
		f(t, s)
	})
}

func (s *stream) publish(data string) {
	s.t.Helper()
	if _, err := s.hub.Caller(hub.Client{}).Publish(s.t.Context(), hub.Publication{Room: room, Kind: message.Text, Data: []byte(data)}); err != nil {
		s.t.Error(err)
	}
}

// ended waits for the end, checks its cause, and returns what was written last.
func (s *stream) ended(cause hub.Cause) string {
	s.t.Helper()
	<-s.done
	if got := s.hub.Stats(); got.Endings[cause] != 1 || len(got.Endings) != 1 || got.Sessions != 0 {
		s.t.Errorf("endings %v, %d sessions, want one of cause %v", got.Endings, got.Sessions, cause)
	}
	return s.take()
}

var farewell = regexp.MustCompile(`^retry: \d+\n\n$`)

func TestServe(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *stream) {
		if p := parse(s.take()); p.retry == 0 || p.lastID == "" || len(p.events) != 0 {
			t.Errorf("begins with %+v", p)
		}
		if s.status != 200 || s.header.Get("Content-Type") != "text/event-stream" || s.header.Get("X-Accel-Buffering") != "no" {
			t.Errorf("status %d, headers %v", s.status, s.header)
		}
		var all strings.Builder
		for i := range 500 {
			s.publish(fmt.Sprint(i))
			if i%37 == 0 {
				all.WriteString(s.take())
			}
		}
		all.WriteString(s.take())
		events := parse(all.String()).events
		if len(events) != 500 {
			t.Fatalf("%d events", len(events))
		}
		for i, e := range events {
			if e.data != fmt.Sprint(i) {
				t.Errorf("event %d is %+v", i, e)
			}
		}
		s.cancel()
		if last := s.ended(hub.CauseLeft); last != ":\n\n" { // which shows that it has not broken
			t.Errorf("ends with %q, want a heartbeat", last)
		}
	})
}

func TestLines(t *testing.T) {
	bubble(t, func(o *sse.Options) { o.Format, o.Heartbeat = sse.Lines{}, time.Minute }, func(t *testing.T, s *stream) {
		if got := s.take(); !strings.HasPrefix(got, `{"op":"ready","conn":"`) || !strings.HasSuffix(got, "}\n") {
			t.Errorf("begins with %q", got)
		}
		s.publish("a\nb")
		if got := s.take(); !strings.Contains(got, `"data":"a\nb"`) || strings.Count(got, "\n") != 1 {
			t.Errorf("message %q", got)
		}
		<-time.After(time.Minute)
		if got := s.take(); got != "\n" {
			t.Errorf("heartbeat %q", got)
		}
		s.attached.Move(0, 0)
		if got := s.ended(hub.CauseDraining); got != string(protocol.Bye(503, protocol.RetryFirst, protocol.RetryLast))+"\n" {
			t.Errorf("ends with %q", got)
		}
	})
}

// A heartbeat comes when nothing was written for so long, to the moment.
func TestHeartbeat(t *testing.T) {
	const beat = 25 * time.Second
	bubble(t, func(o *sse.Options) { o.Heartbeat = beat }, func(t *testing.T, s *stream) {
		s.take()
		for range 3 {
			<-time.After(beat - 1)
			if got := s.take(); got != "" {
				t.Fatalf("%q before its time", got)
			}
			<-time.After(1)
			if got := s.take(); got != ":\n\n" {
				t.Fatalf("heartbeat %q", got)
			}
		}
		<-time.After(beat / 2)
		s.publish("x")
		if got := parse(s.take()).events; len(got) != 1 {
			t.Errorf("events %v", got)
		}
		<-time.After(beat - 1)
		if got := s.take(); got != "" {
			t.Errorf("%q although a message was written", got)
		}
		<-time.After(1)
		if got := s.take(); got != ":\n\n" {
			t.Errorf("heartbeat %q", got)
		}
	})
	t.Run("news that are not for it", func(t *testing.T) {
		bubble(t, func(o *sse.Options) { o.Heartbeat, o.Client = beat, hub.Client{ID: "me", NoEcho: true} }, func(t *testing.T, s *stream) {
			s.take()
			for range 3 {
				<-time.After(beat / 3)
				if _, err := s.hub.Caller(hub.Client{ID: "me"}).Publish(t.Context(), hub.Publication{Room: room}); err != nil {
					t.Error(err)
				}
			}
			<-time.After(beat - 3*(beat/3))
			if got := s.take(); got != ":\n\n" {
				t.Errorf("heartbeat %q", got)
			}
		})
	})
	t.Run("off", func(t *testing.T) {
		bubble(t, nil, func(t *testing.T, s *stream) {
			s.take()
			<-time.After(10 * time.Hour)
			if got := s.take(); got != "" {
				t.Errorf("wrote %q", got)
			}
		})
	})
}

func TestEnds(t *testing.T) {
	tests := []struct {
		name  string
		do    func(*stream)
		cause hub.Cause
		want  bool // a time to come back
	}{
		{"down", func(s *stream) { s.attached.Move(0, 0) }, hub.CauseDraining, true},
		{"hub closes", func(s *stream) { s.hub.Close(context.Background()) }, hub.CauseStopping, true},
		{"session is ended", func(s *stream) { s.hub.Sessions()[0].End(hub.CauseRate) }, hub.CauseRate, true},
		{"client goes", func(s *stream) { s.cancel() }, hub.CauseLeft, false},
		{"connection breaks", func(s *stream) { s.change(func() { s.broken = true }); s.cancel() }, hub.CauseGone, false},
		{"write fails", func(s *stream) { s.change(func() { s.broken = true }); s.publish("x") }, hub.CauseGone, false},
		{"flush fails", func(s *stream) { s.change(func() { s.flushing = true }); s.publish("x") }, hub.CauseGone, false},
		{"too slow", func(s *stream) { s.change(func() { s.each = 31 * time.Second }); s.publish("x") }, hub.CauseSlow, false},
		{"down and too slow", func(s *stream) { s.change(func() { s.each = 31 * time.Second }); s.attached.Move(0, 0) }, hub.CauseDraining, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *stream) {
				s.take()
				began := time.Now()
				test.do(s)
				if got := strings.TrimPrefix(s.ended(test.cause), ":\n\n"); farewell.MatchString(got) != test.want || !test.want && got != "" {
					t.Errorf("ends with %q", got)
				}
				if d := time.Since(began); d > 30*time.Second {
					t.Errorf("took %v", d)
				}
			})
		})
	}
}

// A slow reader stays, and the deadline of a write does not apply to the idle time
// after it.
func TestSlowReader(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *stream) {
		s.take()
		s.change(func() { s.each = 29 * time.Second })
		for i := range 3 {
			s.publish(fmt.Sprint(i))
			<-time.After(time.Hour)
			if got := parse(s.take()).events; len(got) != 1 || got[0].data != fmt.Sprint(i) {
				t.Errorf("events %v", got)
			}
			s.change(func() {
				if !s.deadline.IsZero() {
					t.Errorf("deadline %v", s.deadline)
				}
			})
		}
	})
}

// A message may take much longer than a client may take nothing, if it moves.
func TestSlowMessage(t *testing.T) {
	data := strings.Repeat("*", 60_000)
	tests := map[string]struct {
		perByte time.Duration
		want    hub.Cause
	}{"slow": {time.Millisecond, 0}, "too slow": {2 * time.Millisecond, hub.CauseSlow}}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *stream) {
				s.take()
				s.change(func() { s.perByte = test.perByte })
				s.publish(data)
				if test.want != 0 {
					s.ended(test.want)
					return
				}
				<-time.After(time.Hour)
				if got := parse(s.take()).events; len(got) != 1 || got[0].data != data {
					t.Errorf("%d events", len(got))
				}
			})
		})
	}
}

// The end does not wait for a slow client, although that moves.
func TestSlowEnd(t *testing.T) {
	for _, how := range []string{"down", "ended"} {
		t.Run(how, func(t *testing.T) {
			bubble(t, nil, func(t *testing.T, s *stream) {
				s.take()
				s.change(func() { s.perByte = time.Millisecond }) // 16 s a piece
				s.publish(strings.Repeat("*", 60_000))
				<-time.After(time.Second)
				began := time.Now()
				if how == "down" {
					s.attached.Move(0, 0)
				} else {
					s.hub.Sessions()[0].End(hub.CauseDraining)
				}
				<-s.done
				if d := time.Since(began); d > 55*time.Second {
					t.Errorf("ends after %v", d)
				}
			})
		})
	}
}

// A backlog is written in pieces, to its end, and never gathered in one.
func TestBacklog(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *stream) {
		s.take()
		s.change(func() { s.each = time.Second })
		const size, count = 10_000, 60
		for range count {
			s.publish(strings.Repeat("*", size))
		}
		<-time.After(time.Minute)
		if n := len(parse(s.take()).events); n != count {
			t.Errorf("%d events", n)
		}
		s.change(func() {
			if s.most != 16<<10 {
				t.Errorf("%d bytes in one write", s.most)
			}
		})
	})
}

// A stream that is always behind, because more comes than it can take, gets its end
// like all others.
func TestAlwaysBehind(t *testing.T) {
	bubble(t, nil, func(t *testing.T, s *stream) {
		s.take()
		s.change(func() { s.each = time.Second })
		stop := make(chan struct{})
		var publisher sync.WaitGroup
		publisher.Go(func() {
			for data := strings.Repeat("*", 40_000); ; {
				select {
				case <-stop:
					return
				case <-time.After(200 * time.Millisecond):
					s.publish(data)
				}
			}
		})
		<-time.After(time.Minute)
		s.attached.Move(0, 0)
		began := time.Now()
		s.ended(hub.CauseDraining)
		if d := time.Since(began); d > 20*time.Second {
			t.Errorf("ends after %v", d)
		}
		close(stop)
		publisher.Wait()
	})
}

// A cursor that cannot be honoured stays the client's until it knows of the gap.
func TestGap(t *testing.T) {
	foreign := func(o *sse.Options) { o.Rooms[0].Start = hub.Start{InvalidCursor: true} }
	bubble(t, foreign, func(_ *testing.T, s *stream) {
		p := parse(s.take())
		if len(p.events) != 1 || p.events[0].name != "gap" || p.events[0].id == "" || p.lastID != p.events[0].id {
			t.Errorf("events %+v", p.events)
		}
	})
}

func TestRefused(t *testing.T) {
	set := settings.Defaults()
	set.MaxRooms = 1
	h, err := hub.New(set, hub.NewMemory())
	if err != nil {
		t.Fatal(err)
	}
	other, err := h.Connect(hub.Client{}, make(hub.WakeChan, 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Subscribe(t.Context(), "other", hub.Start{}); err != nil {
		t.Fatal(err)
	}
	serve := func(name string) error {
		w := httptest.NewRecorder()
		o := sse.Options{Hub: h, Attached: hub.NewAttached(h), Rooms: one(name), Format: sse.Events{}}
		err := sse.Serve(w, httptest.NewRequest(http.MethodGet, "/", nil), o)
		if w.Body.Len() > 0 || len(w.Header()) > 0 {
			t.Errorf("wrote %q, %v", w.Body, w.Header())
		}
		return err
	}
	if err := serve("a//b"); !errors.Is(err, names.ErrRoom) {
		t.Error(err)
	}
	if err := serve("b"); !errors.Is(err, limit.ErrFull) {
		t.Error(err)
	}
	if n := h.Stats().Sessions; n != 1 {
		t.Errorf("%d sessions", n)
	}
	if err := h.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := serve("b"); !errors.Is(err, hub.ErrDraining) {
		t.Error(err)
	}
}

// one returns a subscription from now on.
func one(room string) []protocol.JoinRequest { return []protocol.JoinRequest{{Room: room}} }
