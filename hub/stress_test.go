package hub_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// numbers holds what one reader of a room saw: each publisher counts, and
// without a gap no number is missing.
type numbers struct {
	*testing.T
	last [stressPublishers]int
	free [stressPublishers]bool // a gap, or a beginning in the middle: any higher number may follow
	pos  hub.Position
}

const (
	stressPublishers = 4
	stressMessages   = 300 // of each publisher
)

// middle notes that the next number of each publisher is not known.
func (n *numbers) middle() {
	for i := range n.free {
		n.free[i] = true
	}
}

func (n *numbers) take(item hub.Item) {
	if item.Gap != nil {
		n.middle()
		n.pos = item.Gap.To
		return
	}
	m := item.Message
	if m == nil || m.Signal {
		return
	}
	if m.Offset <= n.pos.Offset {
		n.Errorf("%v comes after %v", m.Position, n.pos)
	}
	n.pos = m.Position
	var who, number int
	if _, err := fmt.Sscan(string(m.Data), &who, &number); err != nil {
		n.Errorf("%q: %v", m.Data, err)
		return
	}
	if number <= n.last[who] || !n.free[who] && number != n.last[who]+1 {
		n.Errorf("number %d of publisher %d comes after %d", number, who, n.last[who])
	}
	n.last[who], n.free[who] = number, false
}

// stress is a hub, and the room in which everybody does everything at once.
type stress struct {
	*testing.T
	hub       *hub.Hub
	room      string
	published chan struct{} // closed when all is published
	readers   sync.WaitGroup
}

// TestStress lets everybody do everything at once.
func TestStress(t *testing.T) {
	s := &stress{T: t, hub: newHub(t, configured(keeping(50, 0))), room: "room", published: make(chan struct{})}
	for range 3 {
		s.stays()
	}
	for seed := range uint64(3) {
		s.readers.Go(func() { s.comesAndGoes(seed) })
		s.readers.Go(s.polls)
	}
	s.readers.Go(s.configures)
	var publishers sync.WaitGroup
	for who := range stressPublishers {
		publishers.Go(func() { s.publishes(who) })
	}
	publishers.Wait()
	close(s.published)
	s.readers.Wait()
}

// stays adds a reader that stays from the beginning to the end.
func (s *stress) stays() {
	wake := make(hub.WakeChan, 1)
	session, err := s.hub.Connect(hub.Client{}, wake)
	if err != nil {
		s.Fatal(err)
	}
	joined, err := session.Subscribe(s.Context(), s.room, hub.Start{})
	if err != nil {
		s.Fatal(err)
	}
	n := &numbers{T: s.T, pos: joined.Cursor}
	s.readers.Go(func() {
		defer session.End(hub.CauseLeft)
		s.readToTheEnd(session, wake, n)
		for who, last := range n.last {
			if last != stressMessages && !n.free[who] {
				s.Errorf("the last number of publisher %d is %d", who, last)
			}
		}
		last, err := s.hub.Caller(hub.Client{}).Read(s.Context(), s.room, hub.Query{Last: 1, Limit: 1})
		if err != nil || len(last.Messages) != 1 || n.pos.Offset < last.Messages[0].Offset {
			s.Errorf("a reader to the end stops at %v: %+v, %v", n.pos, last, err)
		}
	})
}

// readToTheEnd reads until all is published and read.
func (s *stress) readToTheEnd(session *hub.Session, wake hub.WakeChan, n *numbers) {
	buf := make([]hub.Item, 0, 16)
	for end := false; !end; {
		select {
		case <-wake:
		case <-s.published:
			end = true // and read the rest
		}
		for more := true; more; {
			buf, more = session.Next(buf[:0])
			for _, item := range buf {
				n.take(item)
				if item.Message != nil {
					item.Message.Form(1, func(m *hub.Message) []byte { return m.Data })
				}
			}
		}
	}
}

// configures puts other settings in force again and again.
func (s *stress) configures() {
	for i := 0; ; i++ {
		select {
		case <-s.published:
			return
		case <-time.After(time.Millisecond):
		}
		change := configured(keeping(10+i%3*40, time.Duration(i%2)*time.Minute), func(set *settings.Settings) {
			set.HistoryMemory = int64(70_000 + i%4*10_000)
			if i%3 > 0 {
				set.Rooms = []settings.RoomRule{{Pattern: "r1*", HistoryMemory: new(i%3*10_000 + 60_000), MaxRooms: new(i % 3 * 4)}}
			}
		})
		if err := s.hub.Configure(change); err != nil {
			s.Error(err)
		}
		s.hub.Stats()
		s.hub.SubscriberCount(s.room)
	}
}

// publishes publishes one publisher's numbers.
func (s *stress) publishes(who int) {
	for number := 1; number <= stressMessages; number++ {
		p := hub.Publication{Room: s.room, Data: fmt.Append(nil, who, " ", number)}
		if _, err := s.hub.Caller(hub.Client{}).Publish(s.Context(), p); err != nil {
			s.Error(err)
		}
		p = hub.Publication{Room: fmt.Sprint("r", number%20), Data: p.Data, Signal: number%2 == 0, Key: fmt.Sprint(number % 50)}
		_, _ = s.hub.Caller(hub.Client{User: &hub.User{ID: fmt.Sprint(who, number/50)}}).Publish(s.Context(), p)
	}
}

// comesAndGoes joins, reads for a while, goes, and resumes where it was.
func (s *stress) comesAndGoes(seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	n := &numbers{T: s.T}
	n.middle()
	for round := 0; ; round++ {
		select {
		case <-s.published:
			return
		default:
		}
		wake := make(hub.WakeChan, 1)
		client := hub.Client{Presence: hub.PresenceLevel(rnd.IntN(3)), Observer: rnd.IntN(5) == 0}
		if who := rnd.IntN(4); who > 0 {
			client.User = &hub.User{ID: fmt.Sprint("u", who)}
		}
		session, err := s.hub.Connect(client, wake)
		if err != nil {
			s.Error(err)
			return
		}
		var start hub.Start
		if round > 0 {
			start.After = n.pos
		}
		if rnd.IntN(2) == 0 {
			start.State = []byte(`1`)
		}
		joined, err := session.Subscribe(s.Context(), s.room, start)
		if err != nil {
			s.Error(err)
			return
		}
		if round == 0 {
			n.pos = joined.Cursor
		}
		_, _ = session.Subscribe(s.Context(), fmt.Sprint("r", rnd.IntN(20)), hub.Start{Last: 3})
		s.readsForAWhile(session, wake, rnd, n)
		if rnd.IntN(2) == 0 {
			session.Unsubscribe(s.room)
		}
		session.End(hub.CauseGone)
	}
}

// readsForAWhile reads, and shows a state now and then.
func (s *stress) readsForAWhile(session *hub.Session, wake hub.WakeChan, rnd *rand.Rand, n *numbers) {
	buf := make([]hub.Item, 0, 1+rnd.IntN(30))
	for range rnd.IntN(20) {
		select {
		case <-wake:
		case <-s.published:
		}
		buf, _ = session.Next(buf[:0])
		for _, item := range buf {
			if item.Gap != nil && item.Gap.Room == s.room || item.Message != nil && item.Message.Room == s.room {
				n.take(item)
			}
		}
		if len(buf) == cap(buf) {
			wake.Wake()
		}
		if rnd.IntN(5) == 0 {
			_ = session.Show(s.Context(), s.room, fmt.Append(nil, rnd.IntN(3)))
			_ = s.hub.Caller(session.Client()).Show(s.Context(), s.room, []byte(`2`))
		}
	}
}

// polls reads page after page.
func (s *stress) polls() {
	n := &numbers{T: s.T}
	n.middle()
	p, err := s.hub.Caller(hub.Client{}).Read(s.Context(), s.room, hub.Query{})
	for err == nil {
		n.pos = p.Cursor
		select {
		case <-s.published:
			return
		default:
		}
		p, err = s.hub.Caller(hub.Client{}).Read(s.Context(), s.room, hub.Query{After: n.pos, Limit: 7})
		if p.Gap != nil {
			n.take(hub.Item{Gap: p.Gap})
		}
		for _, m := range p.Messages {
			n.take(hub.Item{Message: m})
		}
	}
	s.Error(err)
}
