package hub_test

import (
	"context"
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

	"github.com/caddy-realtime/realtime/engine/enginetest"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
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
	testModel(t, func(e hub.Engine, _ uint64) hub.Engine { return e })
}

// TestModelOfARemoteEngine does the same with an engine that passes for one outside of this process: its log is
// read off the delivery path.
func TestModelOfARemoteEngine(t *testing.T) {
	testModel(t, func(e hub.Engine, _ uint64) hub.Engine { return remote{e} })
}

// TestModelOfAnUnsteadyEngine does the same with an engine that fails now and then, and loses what it delivers.
func TestModelOfAnUnsteadyEngine(t *testing.T) {
	testModel(t, func(e hub.Engine, seed uint64) hub.Engine { return enginetest.NewUnsteady(remote{e}, seed, 5) })
}

// remote hides that its engine keeps its logs in this process: what it hands out are copies.
type remote struct{ hub.Engine }

// Wraps returns the engine.
func (r remote) Wraps() hub.Engine { return r.Engine }

func (r remote) Subscribe(ctx context.Context, room string, to hub.Reader) (hub.Position, func(), error) {
	return r.Engine.Subscribe(ctx, room, copies{to})
}

func (r remote) Read(ctx context.Context, room string, q hub.Query) (hub.Page, error) {
	page, err := r.Engine.Read(ctx, room, q)
	page.Messages = slices.Clone(page.Messages)
	for i, m := range page.Messages {
		page.Messages[i] = copyOf(m)
	}
	return page, err
}

// copies delivers copies.
type copies struct{ hub.Reader }

func (c copies) Deliver(m *hub.Message) { c.Reader.Deliver(copyOf(m)) }

func copyOf(m *hub.Message) *hub.Message {
	return &hub.Message{
		Room: m.Room, Event: m.Event, Position: m.Position, Kind: m.Kind, Type: m.Type, Data: m.Data, From: m.From, Key: m.Key,
		Publisher: m.Publisher, Signal: m.Signal, Time: m.Time, Expires: m.Expires,
	}
}

func testModel(t *testing.T, wrap func(e hub.Engine, seed uint64) hub.Engine) {
	t.Helper()
	for i := range *modelRuns {
		seed := *modelSeed + uint64(i)
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{T: t, rnd: rand.New(rand.NewPCG(seed, 0)), rooms: make(map[string][]sent)}
				m.configure()
				engine := wrap(hub.NewMemory(), seed)
				_, inProcess := engine.(hub.Keeper)
				_, m.unsteady = engine.(*enginetest.Unsteady)
				m.remote = !inProcess
				m.hub = newHubOn(t, engine, m.settings)
				for step := range 300 {
					what := m.step()
					synctest.Wait() // for reads of the log
					if err := m.hub.Check(); err != nil {
						t.Fatalf("step %d, %s: %v", step, what, err)
					}
					if t.Failed() {
						t.Fatalf("step %d, %s", step, what)
					}
				}
				t.Logf("%d messages by Next, %d by steps", m.nexts, m.steps)
			})
		})
	}
}

// model is what the hub should be: for each room the list of all messages.
type model struct {
	*testing.T
	rnd         *rand.Rand
	remote      bool // the engine passes for one outside of this process
	unsteady    bool // it may fail
	hub         *hub.Hub
	settings    *settings.Settings
	rooms       map[string][]sent
	clients     []*client
	dispatchers [2]dispatcher
	cursors     []cursor // some that were seen, of all rooms
	n           int      // messages published

	nexts, steps int // messages given by Next, and by steps
}

// dispatcher serves clients together.
type dispatcher struct {
	due []*hub.SubscriberGroup
}

func (c *dispatcher) Notify(f *hub.SubscriberGroup) { c.due = append(c.due, f) }

// oneOf is the Waker of a client in a dispatcher.
type oneOf struct {
	deaf
	dispatcher *dispatcher
	client     *client
}

func (o *oneOf) Dispatcher() hub.Dispatcher { return o.dispatcher }

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
		{20, "group", m.group},
		{15, "catch up", m.catchUp},
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
	m.settings = configured(func(s *settings.Settings) {
		s.MaxRooms, s.MaxConnections, s.MaxMessageSize = 4, 5, 300
		s.HistoryMemory = one(m, int64(1500), 6000, 30_000, 1<<20)
		s.History = m.history()
		s.Rooms = []settings.RoomRule{
			{Pattern: "a", History: new(m.history()), HistoryMemory: one(m, nil, new(2000))},
			{Pattern: "b*", History: new(m.history()), MaxRooms: one(m, nil, new(settings.Off))},
			{Pattern: "*", MaxRooms: one(m, nil, new(1), new(3)), HistoryMemory: one(m, nil, new(1000), new(6000))},
		}
	})
	if m.hub != nil {
		if err := m.hub.Configure(m.settings); err != nil {
			m.Error(err)
		}
	}
}

func (m *model) history() settings.History {
	return settings.History{Count: one(m, 0, 1, 3, 10, 80), Age: one(m, 0, time.Second, time.Minute)}
}

func (m *model) advance() {
	advance(one(m, time.Millisecond, 100*time.Millisecond, time.Second, 6*time.Second, 11*time.Second, time.Minute, time.Hour))
}

// full checks a refusal for lack of rooms, and says whether err is one.
func (m *model) full(err error, room string) bool {
	if !errors.Is(err, limit.ErrFull) {
		return false
	}
	limited(m, err, limit.ErrFull, "max_rooms")
	occupied, alike, quota := make(map[string]bool), make(map[string]bool), m.settings.RoomsQuota(room)
	for _, c := range m.clients {
		for name := range c.rooms {
			occupied[name] = true
			if quota.Max > 0 && m.settings.RoomsQuota(name) == quota {
				alike[name] = true
			}
		}
	}
	if len(occupied) < m.settings.MaxRooms && (quota.Max == 0 || len(alike) < quota.Max) || occupied[room] {
		m.Errorf("refused %s, although only %d rooms of %d are occupied, and %d of %d in its quota", room, len(occupied), m.settings.MaxRooms, len(alike), quota.Max)
	}
	return true
}

// failed reports whether err is that of an engine that may fail.
func (m *model) failed(err error) bool { return m.unsteady && errors.Is(err, hub.ErrUnavailable) }

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
			s.Receipt, err = m.hub.Caller(hub.Client{}).Publish(m.Context(), p)
		}
		if m.full(err, room) || m.failed(err) {
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
	c := &client{rooms: make(map[string]*reader)}
	waker := one[hub.Waker](m, deaf{}, make(hub.WakeChan, 1), &oneOf{dispatcher: &m.dispatchers[0], client: c}, &oneOf{dispatcher: &m.dispatchers[0], client: c}, &oneOf{dispatcher: &m.dispatchers[1], client: c})
	s, err := m.hub.Connect(hub.Client{NoEcho: m.rnd.IntN(2) == 0, Address: one(m, addr("10.0.0.1"), addr("2001:db8::1"))}, waker)
	if len(m.clients) == m.settings.MaxConnections {
		limited(m, err, limit.ErrFull, "max_connections")
		return
	}
	if err != nil {
		m.Fatal(err)
	}
	c.Session = s
	m.clients = append(m.clients, c)
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
	c.Unsubscribe(room)
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
	return m.room(), one(m, hub.Start{}, hub.Start{Last: 1 + m.rnd.IntN(20)}, hub.Start{Age: one(m, time.Second, time.Minute)}, hub.Start{InvalidCursor: true})
}

func (m *model) join() {
	if len(m.clients) == 0 {
		return
	}
	c := one(m, m.clients...)
	room, start := m.start()
	joined, err := c.Subscribe(m.Context(), room, start)
	if m.full(err, room) || m.failed(err) {
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
		if !m.read(c, one(m, 1, 2, 10, 200)) {
			return
		}
	}
}

// read gives the client what is next, and reports whether there is more.
func (m *model) read(c *client, limit int) (more bool) {
	items, more := c.Next(make([]hub.Item, 0, limit))
	if !more && c.Waits() {
		more = true
		synctest.Wait() // for the page
		if m.unsteady { // there may have to be another try, when what came is looked at
			defer advance(time.Second)
		}
	}
	for _, item := range items {
		if item.Gap != nil {
			c.rooms[item.Gap.Room].lose(item.Gap)
			continue
		}
		c.rooms[item.Message.Room].take(item.Message)
		m.nexts++
		if m.rnd.IntN(3) == 0 {
			form := hub.Form(m.rnd.IntN(message.MaxForms))
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
	}
	return more
}

// catchUp lets everybody read all, so that they stand together.
func (m *model) catchUp() {
	for _, c := range m.clients {
		for m.read(c, 1000) {
		}
	}
}

// group does what a dispatcher does: it gives a step's messages to the members that
// need them. The others wait for their Next.
func (m *model) group() {
	dispatcher := &m.dispatchers[m.rnd.IntN(len(m.dispatchers))]
	for range one(m, 1, 1000) {
		if len(dispatcher.due) == 0 {
			return
		}
		f := dispatcher.due[0]
		dispatcher.due = dispatcher.due[1:]
		step, more := f.Next(make([]*hub.Message, 0, one(m, 1, 3, 100)), one(m, 1, 500, 1<<20))
		if more {
			dispatcher.due = append(dispatcher.due, f)
		}
		seen := make(map[*hub.Subscription]bool)
		for i := f.Len(); i > 0; {
			var members []*hub.Subscription
			members, i = f.Subscriptions(i, make([]*hub.Subscription, 0, one(m, 1, 2, 64)))
			for _, member := range members {
				if seen[member] {
					m.Error("a walk at rest sees somebody twice")
				}
				if seen[member] = true; !member.Advance(&step) {
					continue
				}
				for _, e := range step.Messages {
					member.Waker().(*oneOf).client.rooms[e.Room].take(e)
					m.steps++
				}
			}
		}
	}
}
