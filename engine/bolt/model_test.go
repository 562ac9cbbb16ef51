package bolt

import (
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
)

var modelRuns = flag.Int("model.runs", 5, "how many seeds the model test tries")

// TestModel does random things to an engine, ends and kills it, and compares what its readers see with a list of all
// that was published.
func TestModel(t *testing.T) {
	for seed := range *modelRuns {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &model{T: t, rnd: rand.New(rand.NewPCG(uint64(seed), 1)), rooms: make(map[string]*modelRoom), dir: t.TempDir()}
				defer func() { closed(t, m.e) }()
				m.open(filepath.Join(m.dir, "0.db"))
				for range 400 {
					m.step()
				}
			})
		})
	}
}

func (s modelMessage) String() string {
	return fmt.Sprintf("%d (%s, expires %v, dead %v, trimmed %v)", s.Offset, s.text, s.expires, s.dead, s.was)
}

type model struct {
	*testing.T
	rnd   *rand.Rand
	e     *Engine
	dir   string
	files int
	rooms map[string]*modelRoom
	keeps sync.Map // settings.History, by room
	last  uint64   // the newest offset that was given out
}

// modelRoom is what is known of a room.
type modelRoom struct {
	name    string
	keep    settings.History
	cursors []hub.Position // that readers got
	sent    []modelMessage
	stop    func()
}

type modelMessage struct {
	hub.Position
	text    string
	expires time.Time
	dead    bool // it is lost with the power
	was     bool // retention has let go of it
}

func (m *model) open(path string) {
	m.Helper()
	m.e = New(path, Options{Sync: time.Duration(m.rnd.IntN(2)) * 50 * time.Millisecond}, slog.New(slog.DiscardHandler))
	m.e.Govern(func(room string) settings.History {
		if keep, ok := m.keeps.Load(room); ok {
			return keep.(settings.History)
		}
		return settings.History{Count: 10}
	})
	if err := m.e.Open(m.Context()); err != nil {
		m.Fatal(err)
	}
	for _, r := range m.rooms {
		r.stop = nil
	}
}

func (m *model) room() *modelRoom {
	name := fmt.Sprint("room", m.rnd.IntN(4))
	r := m.rooms[name]
	if r == nil {
		r = &modelRoom{name: name, keep: settings.History{Count: 10}}
		m.rooms[name] = r
	}
	if r.stop == nil && m.rnd.IntN(2) == 0 {
		tail, stop, err := m.e.Subscribe(m.Context(), name, inbox{})
		if err != nil {
			m.Fatal(err)
		}
		r.stop = stop
		r.cursors = append(r.cursors, tail)
		m.e.Retain(name, r.keep)
	}
	return r
}

func (m *model) step() {
	r := m.room()
	switch n := m.rnd.IntN(100); {
	case n < 50:
		m.publish(r)
	case n < 75:
		m.read(r)
	case n < 82:
		advance(time.Duration(m.rnd.IntN(3000)) * time.Millisecond)
	case n < 85:
		if r.stop != nil {
			r.stop()
			r.stop = nil
			m.e.Forget(r.name, true)
		}
	case n < 89:
		r.keep = settings.History{Count: m.rnd.IntN(12), Age: time.Duration(m.rnd.IntN(2)) * 20 * time.Second}
		m.keeps.Store(r.name, r.keep)
		m.e.Retain(r.name, r.keep)
		m.trim(r)
	case n < 93: // in order
		if err := m.e.Close(m.Context()); err != nil {
			m.Fatal(err)
		}
		m.open(m.e.path)
	case n < 97:
		m.kill()
	default:
		m.powerLoss()
	}
}

func (m *model) publish(r *modelRoom) {
	for range 1 + m.rnd.IntN(6) {
		text := fmt.Sprint(m.rnd.Uint32())
		message := &hub.Message{Room: r.name, Data: []byte(text)}
		if m.rnd.IntN(5) == 0 {
			message.Expires = time.Now().Add(time.Duration(1+m.rnd.IntN(5000)) * time.Millisecond)
		}
		d := hub.Draft{Message: message}
		expires := message.Expires
		receipt, err := m.e.Publish(m.Context(), d)
		if err != nil {
			m.Fatal(err)
		}
		if receipt.Offset <= m.last {
			m.Fatalf("offset %d after %d", receipt.Offset, m.last)
		}
		m.last = receipt.Offset
		r.sent = append(r.sent, modelMessage{Position: receipt.Position, text: text, expires: expires})
		r.cursors = append(r.cursors, receipt.Position)
		m.trim(r)
	}
}

// trim lets go of what retention lets go of.
func (m *model) trim(r *modelRoom) {
	now, live := time.Now(), 0
	for i := range slices.Backward(r.sent) {
		s := &r.sent[i]
		if s.dead || s.was {
			continue
		}
		if !s.expires.IsZero() && !now.Before(s.expires) {
			continue
		}
		if live++; live > r.keep.Count || r.keep.Age > 0 && s.Offset <= cutoff(r.keep.Age, now) {
			s.was = true
		}
	}
}

// copyTo copies the files as they are, and opens the copy.
func (m *model) copyTo(change func(path string)) {
	m.files++
	path := filepath.Join(m.dir, fmt.Sprint(m.files, ".db"))
	snapshot := killed(m.T, m.e)
	if err := m.e.Close(m.Context()); err != nil {
		m.Fatal(err)
	}
	for _, suffix := range []string{"", ".journal-0", ".journal-1"} {
		if err := os.Rename(snapshot+suffix, path+suffix); err != nil {
			m.Fatal(err)
		}
	}
	change(path)
	m.open(path)
}

// kill ends the process: nothing is lost.
func (m *model) kill() { m.copyTo(func(string) {}) }

// powerLoss ends the machine: what was not synced may be lost.
func (m *model) powerLoss() {
	always := m.e.always.Load()
	m.copyTo(func(path string) {
		otherBoot(m.T)
		if always {
			return
		}
		for i := range 2 { // nothing was synced
			b, err := os.ReadFile(journalPath(path, i))
			if err != nil {
				m.Fatal(err)
			}
			switch m.rnd.IntN(3) {
			case 0: // all of it is there
			case 1:
				b = b[:min(len(b), m.rnd.IntN(500))]
			default: // some sectors are not
				for at := 0; at < min(len(b), 8192); at += 128 {
					if m.rnd.IntN(3) == 0 {
						clear(b[at : at+128])
					}
				}
			}
			if err := os.WriteFile(journalPath(path, i), b, 0o600); err != nil {
				m.Fatal(err)
			}
		}
	})
	// Whatever is not there any more is lost.
	for _, r := range m.rooms {
		there := make(map[uint64]bool)
		page, err := m.e.Read(m.Context(), r.name, hub.Query{Last: 1000, Limit: 1000})
		if err != nil {
			m.Fatal(err)
		}
		for _, s := range page.Messages {
			there[s.Offset] = true
		}
		now := time.Now()
		for i := range r.sent {
			s := &r.sent[i]
			if s.dead || s.was || !s.expires.IsZero() && !now.Before(s.expires) {
				continue
			}
			if !there[s.Offset] {
				if always {
					m.Errorf("%s: %s was acknowledged by sync always, and is missing", r.name, s.Position)
				}
				s.dead = true
			}
		}
	}
}

// read reads a room from some cursor on.
func (m *model) read(r *modelRoom) {
	m.trim(r)
	if len(r.cursors) == 0 {
		return
	}
	from := r.cursors[m.rnd.IntN(len(r.cursors))]
	if m.rnd.IntN(3) == 0 {
		from = r.cursors[len(r.cursors)-1]
	}
	now, at := time.Now(), from
	var gaps []hub.Gap
	var got []*hub.Message
	for n := 0; ; n++ {
		page, err := m.e.Read(m.Context(), r.name, hub.Query{After: at, Limit: 1 + m.rnd.IntN(5)})
		if err != nil || n > 200 {
			m.Fatalf("%v, %d pages", err, n)
		}
		if page.Gap != nil {
			gaps = append(gaps, *page.Gap)
		}
		got = append(got, page.Messages...)
		at = page.Cursor
		if !page.More {
			break
		}
	}
	covered := func(offset uint64) bool {
		return slices.ContainsFunc(gaps, func(g hub.Gap) bool { return g.From.Offset < offset && offset <= g.To.Offset })
	}
	r.cursors = append(r.cursors, at)
	describe := func() string {
		return fmt.Sprintf("%s after %v: gaps %v, at the end %v, keep %+v", r.name, from, gaps, at, r.keep)
	}
	for _, s := range r.sent {
		if s.Offset <= from.Offset {
			continue
		}
		i := slices.IndexFunc(got, func(g *hub.Message) bool { return g.Offset == s.Offset })
		switch {
		case i >= 0 && s.dead:
			m.Fatalf("%s: %v should not be there", describe(), s)
		case i == 0 && string(got[0].Data) == s.text:
			got = got[1:]
		case i >= 0:
			m.Fatalf("%s: %v comes as %d with %q", describe(), s, i, got[i].Data)
		case !s.expires.IsZero() && !now.Before(s.expires):
		case !covered(s.Offset):
			m.Fatalf("%s: %v is missing in silence", describe(), s)
		case !s.dead && !s.was:
			m.Fatalf("%s: %v is there, and in a gap", describe(), s)
		}
	}
	if len(got) > 0 {
		m.Fatalf("%s: %v was not sent", describe(), got[0].Position)
	}
	page, err := m.e.Read(m.Context(), r.name, hub.Query{Last: 1000, Limit: 1000})
	if err != nil || len(page.Messages) > r.keep.Count || page.More {
		m.Fatalf("%s: %d messages, %v", describe(), len(page.Messages), err)
	}
}
