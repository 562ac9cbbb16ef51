package sse_test

import (
	"strings"
	"time"
)

// event is what an EventSource dispatches.
type event struct{ name, data, id string }

// parser reads a stream by the letter of the standard (HTML, "Interpreting an
// event stream"), which has nothing in common with how it is written here.
type parser struct {
	events []event
	lastID string
	retry  time.Duration

	id, name, data string
}

// parse reads a whole stream.
func parse(stream string) *parser {
	p := new(parser)
	stream = strings.TrimPrefix(stream, "\ufeff")
	for {
		end := strings.IndexAny(stream, "\r\n")
		if end < 0 {
			return p // what has no end is discarded
		}
		p.line(stream[:end])
		if strings.HasPrefix(stream[end:], "\r\n") {
			end++
		}
		stream = stream[end+1:]
	}
}

func (p *parser) line(line string) {
	if line == "" {
		p.dispatch()
		return
	}
	field, value, colon := strings.Cut(line, ":")
	switch {
	case field == "" && colon:
		return // a comment
	case colon:
		value = strings.TrimPrefix(value, " ")
	}
	switch field {
	case "event":
		p.name = value
	case "data":
		p.data += value + "\n"
	case "id":
		if !strings.Contains(value, "\x00") {
			p.id = value
		}
	case "retry":
		ms := time.Duration(0)
		for _, digit := range value {
			if digit < '0' || digit > '9' {
				return
			}
			ms = ms*10 + time.Duration(digit-'0')
		}
		p.retry = ms * time.Millisecond
	}
}

func (p *parser) dispatch() {
	p.lastID = p.id
	if p.data == "" {
		p.name = ""
		return
	}
	e := event{name: p.name, data: strings.TrimSuffix(p.data, "\n"), id: p.lastID}
	if e.name == "" {
		e.name = "message"
	}
	p.events = append(p.events, e)
	p.data, p.name = "", ""
}
