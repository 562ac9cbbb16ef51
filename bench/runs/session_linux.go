package runs

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"time"

	"github.com/caddy-realtime/realtime/bench/load"
	"github.com/caddy-realtime/realtime/bench/peers"
	"github.com/caddy-realtime/realtime/bench/report"
)

// Options says what to measure.
type Options struct {
	Peers    peers.Options
	Only     *regexp.Regexp // titles of the runs; nil: all
	Quick    bool
	Progress func(string)
	Print    func(string) // gets each table as it is there
}

// session is one run of all.
type session struct {
	Options
	ctx     context.Context // a session is one call of All
	servers []*peers.Server
	report  *report.Report
	section *report.Section // of the run that is under way
}

// run is one part of the report.
type run struct {
	title string
	text  string
	head  []string
	do    func(*session) error
}

// All measures everything, until it is done or ctx is: then it names what is
// missing. The calling goroutine must be locked to its thread, since the servers
// end with it.
func All(ctx context.Context, o Options, r *report.Report) error {
	s := &session{Options: o, ctx: ctx, report: r}
	defer s.stop()
	if err := s.start(); err != nil {
		return err
	}
	for _, run := range allRuns {
		if o.Only != nil && !o.Only.MatchString(run.title) {
			continue
		}
		s.section = &report.Section{Title: run.title, Text: run.text, Head: run.head}
		r.Sections = append(r.Sections, s.section)
		if ctx.Err() != nil {
			s.section.Note("Not run: the time was over.")
			continue
		}
		s.say("…")
		if err := run.do(s); err != nil {
			if errors.Is(err, context.DeadlineExceeded) {
				err = errors.New("the time was over")
			}
			s.section.Note("Ended early: %v.", err)
		}
		s.check()
		s.Progress("")
		o.Print(s.section.Terminal())
		runtime.GC()
	}
	return nil
}

// start starts all servers. It names the servers that cannot be started.
func (s *session) start() error {
	for _, m := range peers.Makers {
		s.Progress("starting " + m.Name)
		server, err := m.Start(s.ctx, s.Peers)
		if err != nil {
			if m.Name == peers.Ours {
				return err
			}
			s.report.Facts = append(s.report.Facts, [2]string{m.Name, "left out: " + err.Error()})
			s.Print(m.Name + " is left out: " + err.Error() + "\n")
			continue
		}
		s.servers = append(s.servers, server)
		if server.Version != "" {
			s.report.Facts = append(s.report.Facts, [2]string{m.Name, server.Version})
		}
	}
	return nil
}

func (s *session) stop() {
	for _, server := range s.servers {
		server.Stop()
	}
}

// check names servers that have ended.
func (s *session) check() {
	for _, server := range s.servers {
		if !server.Running() {
			s.section.Note("%s ended: %s", server.Name, server.Said())
		}
	}
	s.servers = slices.DeleteFunc(s.servers, func(server *peers.Server) bool { return !server.Running() })
}

// say shows how far the run is.
func (s *session) say(format string, args ...any) {
	s.Progress(s.section.Title + ": " + fmt.Sprintf(format, args...))
}

// pick returns the servers of those names, those that are there.
func (s *session) pick(names ...string) []*peers.Server {
	var picked []*peers.Server
	for _, server := range s.servers {
		if slices.Contains(names, server.Name) {
			picked = append(picked, server)
		}
	}
	return picked
}

// quick returns one of two, by whether the run is quick.
func quick[T any](s *session, short, full T) T {
	if s.Quick {
		return short
	}
	return full
}

// pause lets servers end what they have to do after a run.
func (s *session) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-s.ctx.Done():
	}
}

// held is a server with connections to it.
type held struct {
	server *peers.Server
	pool   *load.Pool
	rooms  int
	per    int      // connections in a room
	next   []uint64 // number of each room's next message
	turn   int      // room that publishes next
}

// crowd says who connects.
type crowd struct {
	rooms, per int
	kind       load.Kind // of all but the first in each room, which publishes
	tls        bool
	prefix     string // before the room; empty: the server's
}

func (c crowd) size() int { return c.rooms * c.per }

// crowds counts them, so that each has rooms of its own.
var crowds int

// hold connects a crowd to a server.
func (s *session) hold(server *peers.Server, c crowd) (*held, error) {
	pool, err := load.NewPool()
	if err != nil {
		return nil, err
	}
	crowds++
	id := crowds
	path := func(room int) string {
		name := fmt.Sprintf("b%d-%d", id, room)
		if c.prefix != "" {
			return c.prefix + name
		}
		return server.Path(name)
	}
	port := server.Port
	if c.tls {
		port = server.TLSPort
	}
	h := &held{server: server, pool: pool, rooms: c.rooms, per: c.per, next: make([]uint64, c.rooms)}
	target := load.Target{Port: port, TLS: c.tls, Kind: server.Publish, Path: func(i int) string { return path(i / c.per) }}
	if c.kind == load.WebSocket {
		err = pool.Connect(s.ctx, target, c.size())
	} else {
		// Only rooms have one crowd of another kind.
		if err = pool.Connect(s.ctx, target, 1); err == nil {
			target.Kind = c.kind
			err = pool.Connect(s.ctx, target, c.size()-1)
		}
	}
	if err == nil {
		err = h.warm()
	}
	if err != nil {
		pool.Close()
		return nil, err
	}
	return h, nil
}

// warm publishes until all get what comes: some servers let a client in after
// they have answered it.
func (h *held) warm() error {
	for i := range h.next {
		h.next[i] = 1
	}
	var err error
	for range 3 {
		h.pool.Reset()
		if err = h.round(h.rooms, 128, 1, 3*time.Second); err == nil {
			return nil
		}
		if !errors.Is(err, load.ErrLost) {
			return err
		}
	}
	return err
}

// round publishes a burst in each of some rooms, and waits until all members have it.
func (h *held) round(rooms, size, burst int, limit time.Duration) error {
	h.pool.Expect(size)
	for range rooms {
		room := h.turn % h.rooms
		h.turn++
		if err := h.pool.PublishBurst(room*h.per, h.next[room], burst, size); err != nil {
			return err
		}
		h.next[room] += uint64(burst)
	}
	return h.pool.Collect(int64(rooms*h.per*burst), rooms*h.per, limit)
}

// roundTime bounds how long one round may take.
const roundTime = 10 * time.Second
