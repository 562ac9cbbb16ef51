package poll_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/poll"
)

const bound = 1 << 20

// Each kind of page is bounded by the bytes that are written, and a reader that goes on
// misses nothing.
func TestPagesAreBoundedInBytes(t *testing.T) {
	control := strings.Repeat("\x01", 64<<10) // six bytes each as JSON
	for name, test := range map[string]struct {
		texts []string
		most  int // of messages on a page
	}{
		"worst":      {[]string{control, control, control, control, control}, 2},
		"one larger": {[]string{"a", strings.Repeat(control, 4), "b", "c"}, 2},
		"small ones": {strings.Split(strings.Repeat("x", 3000), ""), 1000},
	} {
		for _, wait := range []time.Duration{0, time.Minute} {
			for _, rooms := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s, %d rooms, wait %v", name, rooms, wait), func(t *testing.T) {
					bubble(t, func(t *testing.T, h *hub.Hub) { readForwards(t, h, test.texts, test.most, wait, rooms) }, large)
				})
			}
		}
	}
}

// large takes messages and a history of more than a page.
func large(s *settings.Settings) {
	s.MaxMessageSize, s.History, s.HistoryMemory = 1<<20, settings.History{Count: settings.Off}, settings.Off
}

// readForwards publishes in all rooms and reads on, page by page.
func readForwards(t *testing.T, h *hub.Hub, texts []string, most int, wait time.Duration, rooms int) {
	o := poll.Options{Hub: h, Attached: hub.NewAttached(h), Limit: 1000, Wait: wait, Several: rooms > 1}
	for i := range rooms {
		name := fmt.Sprint("r", i)
		start, err := h.Caller(hub.Client{}).Read(t.Context(), name, hub.Query{})
		if err != nil {
			t.Fatal(err)
		}
		o.Rooms = append(o.Rooms, poll.Room{Name: name, Query: hub.Query{After: start.Cursor}})
	}
	for _, text := range texts {
		for _, r := range o.Rooms {
			if _, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: r.Name, Kind: message.Text, Data: []byte(text)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := make(map[string][]string)
	for range rooms*len(texts) + 1 {
		w := httptest.NewRecorder()
		if err := poll.Serve(w, httptest.NewRequest("GET", "/", nil), o); err != nil {
			t.Fatal(err)
		}
		var p struct {
			Cursor    string
			Messages  []struct{ Room, Data string }
			Gap, Gaps any
			More      bool
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Gap != nil || p.Gaps != nil {
			t.Fatalf("%v in %.200s", err, w.Body)
		}
		if w.Body.Len() > bound+1000 && len(p.Messages) > 1 || len(p.Messages) > most*rooms {
			t.Errorf("a page has %d messages and %d bytes", len(p.Messages), w.Body.Len())
		}
		for _, m := range p.Messages {
			got[m.Room] = append(got[m.Room], m.Data)
		}
		for i := range o.Rooms {
			cursor := p.Cursor
			for part := range strings.SplitSeq(p.Cursor, ",") {
				if at, ok := strings.CutPrefix(part, o.Rooms[i].Name+"="); ok {
					cursor = at
				}
			}
			var err error
			if o.Rooms[i].Query.After, err = message.ParsePosition(cursor); err != nil {
				t.Fatalf("%v in %q", err, p.Cursor)
			}
		}
		if !p.More {
			break
		}
	}
	for _, r := range o.Rooms {
		if len(got[r.Name]) != len(texts) || strings.Join(got[r.Name], ",") != strings.Join(texts, ",") {
			t.Errorf("%s: %d messages came, want %d", r.Name, len(got[r.Name]), len(texts))
		}
	}
}

// Paging backwards gives the newest messages first, and the others with before.
func TestPagesBackwardsAreBoundedInBytes(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub.Hub) {
		texts := make([]string, 9)
		for i := range texts {
			texts[i] = fmt.Sprint(i, strings.Repeat("\x02", 60<<10))
		}
		publish(t, h, texts...)
		q := hub.Query{Last: 1000, Limit: 1000}
		var got []string
		for range len(texts) {
			p := ask(t, h, func(o *poll.Options) { o.Rooms[0].Query = q })
			if p.body > bound+1000 || len(p.Messages) == 0 {
				t.Fatalf("a page has %d messages and %d bytes", len(p.Messages), p.body)
			}
			var page []string
			for _, m := range p.Messages {
				page = append(page, m.Data[:1])
			}
			got = append(page, got...)
			if q = (hub.Query{Limit: 1000}); !p.More {
				break
			}
			var err error
			if q.Before, err = message.ParsePosition(p.Messages[0].ID); err != nil {
				t.Fatal(err)
			}
		}
		if s := strings.Join(got, ""); s != "012345678" {
			t.Errorf("got %s", s)
		}
	}, large)
}

// stuck is a client that takes nothing.
type stuck struct {
	http.ResponseWriter
	deadline time.Time
	largest  int
	stop     chan struct{}
}

func (s *stuck) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *stuck) FlushError() error                  { return nil }

func (s *stuck) Write(p []byte) (int, error) {
	s.largest = max(s.largest, len(p))
	select {
	case <-time.After(time.Until(s.deadline)):
		return 0, os.ErrDeadlineExceeded
	case <-s.stop:
		return len(p), nil
	}
}

// A page that is not read counts as a connection, holds a piece, and ends.
func TestPagesThatAreNotRead(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub.Hub) {
		publish(t, h, strings.Repeat("x", 500<<10))
		s := &stuck{ResponseWriter: httptest.NewRecorder(), stop: make(chan struct{})}
		done := make(chan error, 1)
		o := poll.Options{Hub: h, Attached: hub.NewAttached(h), Limit: 10, Rooms: []poll.Room{{Name: room, Query: hub.Query{Last: 10}}}}
		go func() { done <- poll.Serve(s, httptest.NewRequest("GET", "/", nil), o) }()
		synctest.Wait()
		if p := ask(t, h, func(*poll.Options) {}); p.err == nil {
			t.Error("another page is answered, beyond max_connections")
		}
		begin := time.Now()
		if err := <-done; err != nil || time.Since(begin) > 31*time.Second || s.largest > 16<<10 {
			t.Errorf("%v after %v, with a piece of %d bytes", err, time.Since(begin), s.largest)
		}
		if p := ask(t, h, func(*poll.Options) {}); p.err != nil {
			t.Errorf("afterwards: %v", p.err)
		}
	}, large, func(s *settings.Settings) { s.MaxConnections = 1 })
}

// A page has the gap of one room even if another room's messages fill it.
func TestGapsHaveRoomOnAPage(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub.Hub) {
		var rooms []poll.Room
		for _, name := range []string{"a", "b", "c"} {
			for n := range 5 {
				if _, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: name, Kind: message.Text, Data: fmt.Append(nil, n)}); err != nil {
					t.Fatal(err)
				}
			}
			rooms = append(rooms, poll.Room{Name: name, Query: hub.Query{InvalidCursor: true}})
		}
		w := httptest.NewRecorder()
		o := poll.Options{Hub: h, Attached: hub.NewAttached(h), Limit: 1, Wait: time.Minute, Several: true, Rooms: rooms}
		if err := poll.Serve(w, httptest.NewRequest("GET", "/", nil), o); err != nil {
			t.Fatal(err)
		}
		var p struct {
			Cursor string
			Gaps   []struct{ Room string }
			More   bool
		}
		if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || !p.More || len(p.Gaps) != 3 || strings.Count(p.Cursor, "=") != 3 {
			t.Errorf("%v in %s", err, w.Body)
		}
	})
}
