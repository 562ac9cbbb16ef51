package kill

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// Result says what happened.
type Result struct {
	Kills   int             // all of them
	Starts  int             // of which in the middle of a start
	Serving []time.Duration // how long each whole start took until the server answered

	Transports []Seen
	Publishers []Sent

	Messages int      // in all rooms, at the end
	Untold   int      // of which no publisher was told: the answer was cut off
	Missing  int      // acknowledged, but in no room
	Reused   int      // ids that stood for two messages
	Doubled  int      // messages that are in their room twice
	Gaps     int      // when the rooms were read from their beginning
	Said     []string // errors that the server has logged
	Faults   []string // the first ones, in words
}

// Seen is what the readers on one transport got, all together.
type Seen struct {
	Name         string
	Clients      int
	Connections  int
	Acknowledged int // messages that are due to them
	Received     int // also those whose publishers got no answer
	Missing      int // that are in the room
	Twice        int
	Disordered   int
	Gaps         int
	Vanished     int // received, but not in the room
}

// Sent is what the publishers of one kind sent, all together.
type Sent struct {
	Name         string
	Sent         int
	Acknowledged int
	Repeated     int // sendings again, with the same key
}

// Err returns an error if anything was broken.
func (r *Result) Err() error {
	broken := r.Missing + r.Reused + r.Doubled + r.Gaps + len(r.Said) + len(r.Faults)
	for _, s := range r.Transports {
		broken += s.Missing + s.Twice + s.Disordered + s.Gaps + s.Vanished
		if s.Received == 0 {
			return fmt.Errorf("nobody has received anything by %s", s.Name)
		}
	}
	for _, s := range r.Publishers {
		if s.Acknowledged == 0 {
			return fmt.Errorf("nothing was published by %s", s.Name)
		}
	}
	if broken > 0 {
		return errors.New("the promise is broken")
	}
	return nil
}

// readAll reads all rooms from their beginning.
func (r *run) readAll(ctx context.Context, res *Result) (map[string][]message, error) {
	logs := make(map[string][]message)
	for _, room := range r.rooms {
		cursor, newest := r.begins[room], uint64(0)
		for more := true; more; {
			p, err := r.page(ctx, room, "?limit=200&since="+url.QueryEscape(cursor))
			if err != nil {
				return nil, fmt.Errorf("reading %s: %w", room, err)
			}
			if p.Gap != nil {
				res.Gaps++
				r.fault("%s has a gap after %s: %s", room, cursor, p.Gap)
			}
			for _, m := range p.Messages {
				offset, ok := r.offset(m.ID)
				if !ok || offset <= newest {
					r.fault("in %s, %s comes after %d", room, m.ID, newest)
					continue
				}
				newest = offset
				r.saw(m.ID, m.Data)
				logs[room] = append(logs[room], message{offset, m.Data})
			}
			cursor, more = p.Cursor, p.More
		}
	}
	return logs, nil
}

// judge compares what the rooms have with what was acknowledged and received.
func (r *run) judge(res *Result, logs map[string][]message, clients []*client, publishers []*publisher) {
	acknowledged := make(map[uint64]bool)
	kept := make(map[uint64]publication)
	for room, log := range logs {
		texts := make(map[string]bool)
		for _, m := range log {
			res.Messages++
			kept[m.offset] = publication{room, m.text}
			if texts[m.text] {
				res.Doubled++
				r.fault("%q is in %s twice", m.text, room)
			}
			texts[m.text] = true
		}
	}
	for id, what := range r.acked {
		offset, _ := r.offset(id)
		acknowledged[offset] = true
		if kept[offset] != what {
			res.Missing++
			r.fault("%s was acknowledged as %v, the room has %v", id, what, kept[offset])
		}
	}
	for offset := range kept {
		if !acknowledged[offset] {
			res.Untold++
		}
	}
	for _, w := range ways {
		s := Seen{Name: w.name}
		for _, c := range clients {
			if c.name == w.name {
				c.count(&s, logs[c.room], acknowledged)
			}
		}
		res.Transports = append(res.Transports, s)
	}
	for _, k := range kinds {
		s := Sent{Name: k.name}
		for _, p := range publishers {
			if p.name == k.name {
				s.Sent, s.Acknowledged, s.Repeated = s.Sent+p.sent, s.Acknowledged+p.acknowledged, s.Repeated+p.repeated
			}
		}
		res.Publishers = append(res.Publishers, s)
	}
	res.Reused, res.Faults = len(r.reused), r.notes
}

// count adds what the client got to that of its transport. log is what its room has.
func (c *client) count(s *Seen, log []message, acknowledged map[uint64]bool) {
	s.Clients++
	s.Connections += c.connections
	s.Received += c.received
	s.Twice, s.Disordered, s.Gaps = s.Twice+c.twice, s.Disordered+c.disordered, s.Gaps+c.gaps
	found := 0
	for _, m := range log {
		if c.begin == 0 || m.offset <= c.begin {
			continue
		}
		if acknowledged[m.offset] {
			s.Acknowledged++
		}
		switch text, ok := c.got[m.offset]; {
		case !ok:
			s.Missing++
			c.fault("%s: %d of %s did not come, the newest that did is %d", c.name, m.offset, c.room, c.newest.Load())
		case text == m.text:
			found++
		}
	}
	s.Vanished += len(c.got) - found
}
