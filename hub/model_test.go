package hub_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
)

var (
	modelRuns = flag.Int("model.runs", 12, "how many seeds the model test tries")
	modelSeed = flag.Uint64("model.seed", 1, "the first of them")
)

// Cursors that a hub cannot honour.
const (
	foreignEpoch = "-"
	future       = math.MaxUint64
)

// TestModel does random things to a hub and compares what its readers see
// with a list of all that was published.
func TestModel(t *testing.T) {
	for i := range *modelRuns {
		seed := *modelSeed + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{T: t, rnd: rand.New(rand.NewPCG(seed, 0)), rooms: make(map[string][]sent)}
				m.configure()
				m.hub = newHub(t, m.settings)
				for step := range 300 {
					what := m.step()
					if err := m.hub.Check(); err != nil {
						t.Fatalf("step %d, %s: %v", step, what, err)
					}
					if t.Failed() {
						t.Fatalf("step %d, %s", step, what)
					}
				}
			})
		})
	}
}

// model is what the hub should be: for each room the list of all messages.
type model struct {
	*testing.T
	rnd      *rand.Rand
	hub      *hub.Hub
	settings *hub.Settings
	rooms    map[string][]sent
	clients  []*client
	cursors  []cursor // some that were seen, of all rooms
	n        int      // messages published
}

type sent struct {
	hub.Receipt
	text    string
	conn    string
	expires time.Time
}

type cursor struct {
	room string
	hub.Position
}

// client is a session and where its reader stands in the lists.
type client struct {
	*hub.Session
	rooms map[string]*reader
}

func (m *model) step() string {
	ops := []struct {
		weight int
		name   string
		do     func()
	}{
		{30, "publish", m.publish},
		{20, "next", m.next},
		{12, "join", m.join},
		{10, "page forward", m.forward},
		{8, "page backward", m.backward},
		{8, "advance", m.advance},
		{4, "connect", m.connect},
		{3, "leave", m.leave},
		{2, "end", m.end},
		{2, "configure", m.configure},
	}
	total := 0
	for _, op := range ops {
		total += op.weight
	}
	pick := m.rnd.IntN(total)
	for _, op := range ops {
		if pick -= op.weight; pick < 0 {
			op.do()
			return op.name
		}
	}
	panic("unreachable")
}

func one[T any](m *model, of ...T) T { return of[m.rnd.IntN(len(of))] }

// room names a room: there are more names than the hub takes rooms.
func (m *model) room() string { return one(m, "a", "b", "c", "d", "e", "f") }

func (m *model) configure() {
	m.settings = settings(func(s *hub.Settings) {
		s.MaxRooms, s.MaxConnections, s.MaxMessageSize = 4, 5, 300
		s.HistoryMemory = one(m, int64(1500), 6000, 30_000, 1<<20)
		s.History = m.history()
		s.Rooms = []hub.RoomRule{{Pattern: "a", History: new(m.history())}, {Pattern: "b*", History: new(m.history())}}
	})
	if m.hub != nil {
		if err := m.hub.Configure(m.settings); err != nil {
			m.Error(err)
		}
	}
}

func (m *model) history() hub.History {
	return hub.History{Count: one(m, 0, 1, 3, 10, 80), Age: one(m, 0, time.Second, time.Minute)}
}

func (m *model) advance() {
	advance(one(m, time.Millisecond, 100*time.Millisecond, time.Second, 6*time.Second, 11*time.Second, time.Minute, time.Hour))
}

// full checks a refusal for lack of rooms, and says whether err is one.
func (m *model) full(err error, room string) bool {
	if !errors.Is(err, hub.ErrFull) {
		return false
	}
	limited(m, err, hub.ErrFull, "max_rooms")
	occupied := make(map[string]bool)
	for _, c := range m.clients {
		for name := range c.rooms {
			occupied[name] = true
		}
	}
	if len(occupied) < m.settings.MaxRooms || occupied[room] {
		m.Errorf("refused %s, although only %d rooms of %d are occupied", room, len(occupied), m.settings.MaxRooms)
	}
	return true
}

func (m *model) publish() {
	room := m.room()
	for range one(m, 1, 1, 1, 5, 5, 70) {
		m.n++
		p := hub.Publication{
			Room: room, Signal: m.rnd.IntN(5) == 0,
			Data: fmt.Appendf(nil, "%d %s", m.n, strings.Repeat("x", m.rnd.IntN(290))),
		}
		if m.rnd.IntN(4) == 0 {
			p.TTL = one(m, time.Nanosecond, time.Second, 20*time.Second)
		}
		s := sent{text: string(p.Data)}
		if p.TTL > 0 {
			s.expires = time.Now().Add(p.TTL)
		}
		var err error
		if len(m.clients) > 0 && m.rnd.IntN(2) == 0 {
			c := one(m, m.clients...)
			s.conn = c.ID()
			s.Receipt, err = c.Publish(m.Context(), p)
		} else {
			s.Receipt, err = m.hub.Publish(m.Context(), hub.Client{}, p)
		}
		if m.full(err, room) {
			return
		}
		if err != nil || s.IsZero() != p.Signal || !s.Time.Equal(time.Now()) {
			m.Fatalf("publishing: %v, %+v", err, s.Receipt)
		}
		m.rooms[room] = append(m.rooms[room], s)
		m.seen(room, s.Position)
	}
}

// seen remembers a cursor for later.
func (m *model) seen(room string, p hub.Position) {
	if p.IsZero() {
		return
	}
	if len(m.cursors) < 30 {
		m.cursors = append(m.cursors, cursor{room, p})
	} else {
		m.cursors[m.rnd.IntN(len(m.cursors))] = cursor{room, p}
	}
}

func (m *model) connect() {
	s, err := m.hub.Connect(hub.Client{NoEcho: m.rnd.IntN(2) == 0, Address: one(m, addr("10.0.0.1"), addr("2001:db8::1"))}, one[hub.Waker](m, deaf{}, make(hub.Bell, 1)))
	if len(m.clients) == m.settings.MaxConnections {
		limited(m, err, hub.ErrFull, "max_connections")
		return
	}
	if err != nil {
		m.Fatal(err)
	}
	m.clients = append(m.clients, &client{s, make(map[string]*reader)})
}

func (m *model) end() {
	if len(m.clients) == 0 {
		return
	}
	i := m.rnd.IntN(len(m.clients))
	m.clients[i].End(hub.CauseLeft)
	m.clients = slices.Delete(m.clients, i, i+1)
}

func (m *model) leave() {
	if len(m.clients) == 0 {
		return
	}
	room, c := m.room(), one(m, m.clients...)
	c.Leave(room)
	delete(c.rooms, room)
}

// start chooses where to begin, and in which room.
func (m *model) start() (string, hub.Start) {
	if len(m.cursors) > 0 && m.rnd.IntN(2) == 0 {
		c := one(m, m.cursors...)
		switch m.rnd.IntN(8) {
		case 0:
			c.Epoch = foreignEpoch
		case 1:
			c.Offset = future
		}
		return c.room, hub.Start{After: c.Position}
	}
	return m.room(), one(m, hub.Start{}, hub.Start{Last: 1 + m.rnd.IntN(20)}, hub.Start{Age: one(m, time.Second, time.Minute)}, hub.Start{Foreign: true})
}

func (m *model) join() {
	if len(m.clients) == 0 {
		return
	}
	c := one(m, m.clients...)
	room, start := m.start()
	joined, err := c.Join(m.Context(), room, start)
	if m.full(err, room) {
		return
	}
	if err != nil {
		m.Fatal(err)
	}
	r := &reader{model: m, room: room, pos: joined.Cursor, gap: joined.Gap, joined: len(m.rooms[room])}
	if c.Client().NoEcho {
		r.conn = c.ID()
	}
	r.begun(start)
	c.rooms[room] = r
	m.seen(room, joined.Cursor)
}

func (m *model) next() {
	if len(m.clients) == 0 {
		return
	}
	c := one(m, m.clients...)
	for range one(m, 1, 1000) {
		items, more := c.Next(make([]hub.Item, 0, one(m, 1, 2, 10, 200)))
		for _, item := range items {
			if item.Gap != nil {
				c.rooms[item.Gap.Room].lose(item.Gap)
				continue
			}
			c.rooms[item.Message.Room].take(item.Message)
			if m.rnd.IntN(3) == 0 {
				form := hub.Form(m.rnd.IntN(hub.MaxForms))
				if got := item.Message.Form(form, func(o *hub.Message) []byte { return append([]byte{byte(form)}, o.Data...) }); got[0] != byte(form) {
					m.Errorf("form %d is %q", form, got)
				}
			}
		}
		if !more {
			for _, r := range c.rooms {
				r.upTo(len(m.rooms[r.room]))
				m.seen(r.room, r.pos)
			}
			return
		}
	}
}
