package poll_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
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
	"github.com/caddy-realtime/realtime/poll"
)

const room = "lobby"

// page is an answer as a client reads it.
type page struct {
	status int
	etag   string
	took   time.Duration
	body   int   // bytes
	err    error // of a refusal

	Room, Cursor, Conn string
	More               bool
	Present            []struct{ Members int } `json:"presence"`
	Presence           string                  `json:"presence_cursor"`
	Gap                *struct{ From, To, Reason string }
	Messages           []struct{ Op, ID, Event, Data string }
}

// texts returns the messages' data.
func (p *page) texts() string {
	var all []string
	for _, m := range p.Messages {
		all = append(all, m.Data)
	}
	return strings.Join(all, " ")
}

// ask polls once.
func ask(t *testing.T, h *hub.Hub, change func(*poll.Options)) *page {
	t.Helper()
	return askUntil(t, t.Context(), h, change)
}

func askUntil(t *testing.T, ctx context.Context, h *hub.Hub, change func(*poll.Options)) *page {
	t.Helper()
	o := poll.Options{Hub: h, Attached: hub.NewAttached(h), Rooms: []poll.Room{{Name: room}}, Limit: 50}
	change(&o)
	w := httptest.NewRecorder()
	began := time.Now()
	p := new(page)
	p.err = poll.Serve(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/", nil), o)
	p.body, p.status, p.etag, p.took = w.Body.Len(), w.Code, w.Header().Get("ETag"), time.Since(began)
	if p.err != nil || p.status != http.StatusOK {
		if w.Body.Len() > 0 {
			t.Errorf("%v, status %d, and a body: %s", p.err, p.status, w.Body)
		}
		return p
	}
	if err := json.Unmarshal(w.Body.Bytes(), p); err != nil {
		t.Fatalf("page %q: %v", w.Body, err)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	if p.Room != o.Rooms[0].Name || p.Conn == "" || p.etag != "" && p.etag != `"`+p.Cursor+`"` {
		t.Errorf("page %q with ETag %q", w.Body, p.etag)
	}
	return p
}

// bubble runs f with a hub in a bubble of fake time. Nothing may be left.
func bubble(t *testing.T, f func(*testing.T, *hub.Hub), change ...func(*settings.Settings)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		set := settings.Defaults()
		set.Rate, set.MaxPerAddress = limit.Unlimited, settings.Off
		for _, c := range change {
			c(set)
		}
		h, err := hub.New(set, hub.NewMemory())
		if err != nil {
			t.Fatal(err)
		}
		f(t, h)
		synctest.Wait()
		if n := h.Stats().Sessions; n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		if err := h.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// publish publishes the texts, and returns where each is.
func publish(t *testing.T, h *hub.Hub, texts ...string) (at []hub.Position) {
	t.Helper()
	for _, text := range texts {
		r, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: room, Kind: message.Text, Data: []byte(text)})
		if err != nil {
			t.Error(err)
		}
		at = append(at, r.Position)
	}
	return at
}

func (p *page) position(t *testing.T) hub.Position {
	t.Helper()
	at, err := message.ParsePosition(p.Cursor)
	if err != nil {
		t.Fatalf("cursor %q: %v", p.Cursor, err)
	}
	return at
}

func TestAtOnce(t *testing.T) {
	tests := []struct {
		name  string
		query func([]hub.Position) hub.Query // the positions are those of 1 to 5
		texts string
		more  bool
	}{
		{"the newest", func([]hub.Position) hub.Query { return hub.Query{Last: 3, Limit: 3} }, "3 4 5", true},
		{"all", func([]hub.Position) hub.Query { return hub.Query{Last: 50, Limit: 50} }, "1 2 3 4 5", false},
		{"after a cursor", func(p []hub.Position) hub.Query { return hub.Query{After: p[1], Limit: 50} }, "3 4 5", false},
		{"after a cursor, limited", func(p []hub.Position) hub.Query { return hub.Query{After: p[1], Limit: 2} }, "3 4", true},
		{"after the last", func(p []hub.Position) hub.Query { return hub.Query{After: p[4], Limit: 50} }, "", false},
		{"before a cursor", func(p []hub.Position) hub.Query { return hub.Query{Before: p[3], Limit: 2} }, "2 3", true},
		{"before the first", func(p []hub.Position) hub.Query { return hub.Query{Before: p[0], Limit: 2} }, "", false},
		{"foreign", func([]hub.Position) hub.Query { return hub.Query{InvalidCursor: true, Limit: 2} }, "1 2", true},
		{"foreign, waiting", func([]hub.Position) hub.Query { return hub.Query{InvalidCursor: true, Limit: 2} }, "1 2", true},
		{"after a cursor, waiting", func(p []hub.Position) hub.Query { return hub.Query{After: p[1], Limit: 2} }, "3 4", true},
		{"exactly the limit, waiting", func(p []hub.Position) hub.Query { return hub.Query{After: p[1], Limit: 3} }, "3 4 5", false},
		{"the newest, waiting", func([]hub.Position) hub.Query { return hub.Query{Last: 3, Limit: 3} }, "3 4 5", false},
		{"before, waiting is no use", func(p []hub.Position) hub.Query { return hub.Query{Before: p[3], Limit: 1} }, "3", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub.Hub) {
				at := publish(t, h, "1", "2", "3", "4", "5")
				q := test.query(at)
				p := ask(t, h, func(o *poll.Options) {
					o.Rooms[0].Query, o.Limit = q, q.Limit
					if strings.Contains(test.name, "waiting") {
						o.Wait = time.Minute
					}
				})
				if p.texts() != test.texts || p.More != test.more || p.took != 0 || p.err != nil {
					t.Errorf("messages %q, more %v, after %v, %v", p.texts(), p.More, p.took, p.err)
				}
				if (p.Gap != nil) != q.InvalidCursor {
					t.Errorf("gap %+v", p.Gap)
				}
				if !q.Before.IsZero() {
					if p.Cursor != "" || p.etag != "" {
						t.Errorf("cursor %q, ETag %s: paging backwards leaves it alone", p.Cursor, p.etag)
					}
					return
				}
				// The cursor leads on, without loss and without repetition.
				publish(t, h, "6")
				rest := ask(t, h, func(o *poll.Options) { o.Rooms[0].Query.After = p.position(t) })
				if all := p.texts() + " " + rest.texts(); !strings.HasSuffix(" 1 2 3 4 5 6", " "+strings.TrimSpace(all)) {
					t.Errorf("all: %q", all)
				}
			})
		})
	}
}

func waiting(o *poll.Options) { o.Wait = 25 * time.Second }

func TestWait(t *testing.T) {
	t.Run("answered by a message", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			time.AfterFunc(10*time.Second, func() { publish(t, h, "hi") })
			p := ask(t, h, waiting)
			if p.texts() != "hi" || p.took != 10*time.Second || p.Cursor != p.Messages[0].ID || p.More {
				t.Errorf("%+v", p)
			}
		})
	})
	t.Run("time is over", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			after := publish(t, h, "old")[0]
			for range 2 { // from the last message, then from where the page ended
				p := ask(t, h, func(o *poll.Options) { waiting(o); o.Rooms[0].Query.After = after })
				if len(p.Messages) > 0 || p.took != 25*time.Second || p.More || p.Gap != nil {
					t.Errorf("%+v", p)
				}
				after = p.position(t)
			}
			// A client that begins now gets a cursor, too.
			after = ask(t, h, waiting).position(t)
			publish(t, h, "later")
			if p := ask(t, h, func(o *poll.Options) { o.Rooms[0].Query.After = after }); p.texts() != "later" {
				t.Errorf("the cursor leads to %q", p.texts())
			}
		})
	})
	t.Run("limit", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			time.AfterFunc(time.Second, func() { publish(t, h, "1", "2", "3", "4", "5", "6", "7") })
			var all []string
			var after hub.Position
			for range 10 {
				p := ask(t, h, func(o *poll.Options) { waiting(o); o.Limit, o.Rooms[0].Query.After = 3, after })
				if len(p.Messages) > 3 {
					t.Errorf("%d messages", len(p.Messages))
				}
				all, after = append(all, p.texts()), p.position(t)
			}
			if got := strings.Join(strings.Fields(strings.Join(all, " ")), " "); got != "1 2 3 4 5 6 7" {
				t.Errorf("all: %q", got)
			}
		})
	})
	t.Run("signal", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			last := publish(t, h, "old")[0]
			time.AfterFunc(time.Second, func() {
				if _, err := h.Caller(hub.Client{}).Publish(t.Context(), hub.Publication{Room: room, Kind: message.Text, Data: []byte("x"), Event: "typing", Signal: true}); err != nil {
					t.Error(err)
				}
			})
			p := ask(t, h, func(o *poll.Options) { waiting(o); o.Rooms[0].Query.After = last })
			if p.took != time.Second || len(p.Messages) != 1 || p.Messages[0].Op != "signal" || p.Messages[0].Event != "typing" || p.Cursor != last.String() {
				t.Errorf("%+v", p)
			}
		})
	})
}

// Something else than a message ends the wait.
func TestWaitEnds(t *testing.T) {
	t.Run("server goes down", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			attached := hub.NewAttached(h)
			time.AfterFunc(time.Second, func() { attached.Move(0, 0) })
			if p := ask(t, h, func(o *poll.Options) { waiting(o); o.Attached = attached }); p.took != time.Second || len(p.Messages) > 0 || p.Cursor == "" {
				t.Errorf("%+v", p)
			}
		})
	})
	t.Run("client goes", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			if p := askUntil(t, ctx, h, waiting); p.took != time.Second {
				t.Errorf("%+v", p)
			}
		})
	})
	t.Run("hub closes", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			time.AfterFunc(time.Second, func() { h.Close(context.Background()) })
			if p := ask(t, h, waiting); p.err != nil || p.took != time.Second || len(p.Messages) > 0 || p.Cursor == "" {
				t.Errorf("%+v", p)
			}
		})
	})
}

// closed is an authorizer that lets nobody into a room.
type closed string

func (c closed) Decide(_ hub.Principal, verb hub.Verb, room string) bool {
	return room != string(c) && verb != hub.VerbModerate
}

// A poll that waits ends when its room is taken away, and gets nothing of it.
func TestLostRoom(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub.Hub) {
		time.AfterFunc(time.Second, func() {
			h.Authorize(closed(room))
			h.Authorize(nil)
			publish(t, h, "after")
		})
		if p := ask(t, h, waiting); !errors.Is(p.err, hub.ErrForbidden) || p.took != time.Second {
			t.Errorf("%+v", p)
		}
		open := h.Settings()
		declared := *open
		declared.Rooms, declared.OnlyDeclared = []settings.RoomRule{{Pattern: "other"}}, true
		configure := func(s *settings.Settings) {
			if err := h.Configure(s); err != nil {
				t.Error(err)
			}
		}
		time.AfterFunc(time.Second, func() {
			configure(&declared)
			configure(open)
			publish(t, h, "after")
		})
		if p := ask(t, h, waiting); !errors.Is(p.err, hub.ErrNoRoom) || p.took != time.Second {
			t.Errorf("a room that is gone: %+v", p)
		}
		h.Authorize(closed(room))
		for name, change := range map[string]func(*poll.Options){"at once": func(*poll.Options) {}, "waiting": waiting} {
			if p := ask(t, h, change); !errors.Is(p.err, hub.ErrUnauthorized) || p.etag != "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
	})
}

// The limit counts messages; a gap has its place beside them.
func TestGap(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		t.Run(wait.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub.Hub) {
				first := publish(t, h, "1", "2", "3", "4", "5", "6")[0]
				<-time.After(time.Minute) // only the log has them
				publish(t, h, "7")
				p := ask(t, h, func(o *poll.Options) { o.Wait, o.Rooms[0].Query.After, o.Limit = wait, first, 3 })
				if p.Gap == nil || p.Gap.Reason != "expired" || p.Gap.From != first.String() || p.texts() != "4 5 6" || !p.More {
					t.Fatalf("%+v, gap %+v", p, p.Gap)
				}
				if p.Cursor != p.Messages[2].ID {
					t.Errorf("cursor %s after %s", p.Cursor, p.Messages[2].ID)
				}
				if rest := ask(t, h, func(o *poll.Options) { o.Wait, o.Rooms[0].Query.After = wait, p.position(t) }); rest.texts() != "7" || rest.Gap != nil {
					t.Errorf("%+v", rest)
				}
			}, func(s *settings.Settings) { s.History.Count = 4 })
		})
	}
}

func TestNotModified(t *testing.T) {
	for _, wait := range []time.Duration{0, 5 * time.Second} {
		t.Run(wait.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub.Hub) {
				at := publish(t, h, "1", "2")
				conditional := func(after hub.Position) func(*poll.Options) {
					return func(o *poll.Options) { o.Conditional, o.Rooms[0].Query.After, o.Wait = true, after, wait }
				}
				p := ask(t, h, conditional(at[1]))
				if etag := `"` + at[1].String() + `"`; p.status != http.StatusNotModified || p.etag != etag || p.took != wait {
					t.Errorf("%+v, want ETag %s", p, etag)
				}
				if p = ask(t, h, conditional(at[0])); p.status != http.StatusOK || p.texts() != "2" {
					t.Errorf("%+v", p)
				}
				// A gap is news.
				if p = ask(t, h, conditional(hub.Position{Epoch: "other", Offset: 1})); p.status != http.StatusOK || p.Gap == nil {
					t.Errorf("%+v", p)
				}
			})
		})
	}
}

// One message answers everybody.
func TestThousand(t *testing.T) {
	bubble(t, func(t *testing.T, h *hub.Hub) {
		const n = 1000
		var all sync.WaitGroup
		for range n {
			all.Go(func() {
				p := ask(t, h, func(o *poll.Options) { o.Wait = time.Minute })
				if p.texts() != "hi" || p.took != 30*time.Second {
					t.Errorf("%q after %v, %v", p.texts(), p.took, p.err)
				}
			})
		}
		<-time.After(30 * time.Second)
		if got := h.SubscriberCount(room); got != n {
			t.Errorf("%d members", got)
		}
		publish(t, h, "hi")
		all.Wait()
		if got := h.Stats().Endings[hub.CauseLeft]; got != n {
			t.Errorf("%d have left", got)
		}
	})
}

func TestRefused(t *testing.T) {
	for _, wait := range []time.Duration{0, time.Minute} {
		t.Run(fmt.Sprint("name, ", wait), func(t *testing.T) {
			bubble(t, func(t *testing.T, h *hub.Hub) {
				p := ask(t, h, func(o *poll.Options) { o.Rooms[0].Name, o.Wait = "a//b", wait })
				if !errors.Is(p.err, names.ErrRoom) {
					t.Errorf("%v", p.err)
				}
			})
		})
	}
	t.Run("full", func(t *testing.T) {
		bubble(t, func(t *testing.T, h *hub.Hub) {
			s, err := h.Connect(hub.Client{}, make(hub.WakeChan, 1))
			if err != nil {
				t.Fatal(err)
			}
			defer s.End(hub.CauseLeft)
			if p := ask(t, h, func(o *poll.Options) { o.Wait = time.Minute }); !errors.Is(p.err, limit.ErrFull) {
				t.Errorf("%v", p.err)
			}
			if p := ask(t, h, func(*poll.Options) {}); !errors.Is(p.err, limit.ErrFull) {
				t.Errorf("at once: %v", p.err)
			}
			s.End(hub.CauseLeft)
		}, func(s *settings.Settings) { s.MaxConnections = 1 })
	})
}
