package protocol

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
)

// The form of a message in exports: its envelope, and what an import needs beside it.

// AppendRecord appends a message as a line of an export, with its newline: the envelope with epoch, that of its
// id; expires, if it expires by itself; and type, the media type of data that is not base64, if it has one
// that does not go without saying.
func AppendRecord(b []byte, m *hub.Message) []byte {
	b = append(b, bytes.TrimSuffix(envelope(m), []byte("}"))...)
	b = append(b, `,"epoch":`...)
	b = appendString(b, m.Epoch)
	if kind := recordType(m); kind != "" {
		b = append(b, `,"type":`...)
		b = appendString(b, kind)
	}
	if !m.Expires.IsZero() {
		b = append(b, `,"expires":"`...)
		b = m.Expires.UTC().AppendFormat(b, timeLayout)
		b = append(b, '"')
	}
	return append(b, "}\n"...)
}

const jsonType = "application/json"

// recordType returns the media type that a record needs.
func recordType(m *hub.Message) string {
	switch m.Kind {
	case message.JSON:
		if kind, _, _, err := dataOf(m.Data); err != nil || kind != message.JSON {
			return cmp.Or(m.Type, jsonType) // it looks like text, or bytes
		}
		if m.Type == jsonType {
			return ""
		}
		return m.Type
	case message.Text:
		return m.Type
	default:
		return ""
	}
}

// record is a line of an export.
type record struct {
	Op      json.RawMessage `json:"op"`
	ID      string          `json:"id"`
	Room    string          `json:"room"`
	Event   string          `json:"event"`
	Data    json.RawMessage `json:"data"`
	From    *recordUser     `json:"from"`
	Key     string          `json:"key"`
	At      time.Time       `json:"at"`
	Epoch   string          `json:"epoch"`
	Type    string          `json:"type"`
	Expires time.Time       `json:"expires"`
}

type recordUser struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// ParseRecord reads a line that AppendRecord has written, with or without its newline. Fields that it does not know
// do not count. An error says what is wrong; the line is nobody's publication, so whatever it says is taken
// as true.
func ParseRecord(line []byte) (*hub.Message, error) {
	var r record
	if !utf8.Valid(line) {
		return nil, errors.New("it is not UTF-8")
	}
	if err := json.Unmarshal(line, &r); err != nil {
		return nil, fmt.Errorf("it is not a message in JSON: %w", err)
	}
	position, err := message.ParsePosition(r.ID)
	switch {
	case r.Op != nil:
		return nil, errors.New("it has a field op, which messages have not")
	case err != nil:
		return nil, fmt.Errorf("invalid id %q: %w", r.ID, err)
	case r.Epoch != "" && r.Epoch != position.Epoch:
		return nil, fmt.Errorf("invalid epoch %q: the id is %s", r.Epoch, r.ID)
	case r.Data == nil:
		return nil, errors.New("the field data is missing")
	case r.At.IsZero() || r.At.Before(time.UnixMicro(0)):
		return nil, errors.New("invalid or missing field at: must be a time like 2026-11-21T07:00:00.123Z")
	}
	m := &hub.Message{Room: r.Room, Event: r.Event, Key: r.Key, Position: position, Time: r.At, Expires: r.Expires}
	if m.Event == DefaultEvent {
		m.Event = ""
	}
	if r.From != nil {
		m.From = &hub.User{ID: r.From.ID, Name: r.From.Name}
	}
	if m.Kind, m.Type, m.Data, err = recordData(r.Data, r.Type); err != nil {
		return nil, err
	}
	if err := cmp.Or(names.CheckRoom(m.Room), names.CheckEvent(m.Event), names.CheckKey(m.Key), names.CheckType(m.Type), m.From.Check()); err != nil {
		return nil, err
	}
	return m, nil
}

// recordData turns the data of a record into that of a message.
func recordData(raw json.RawMessage, media string) (hub.Kind, string, []byte, error) {
	if isJSONType(media) {
		return message.JSON, media, compact(raw), nil
	}
	kind, known, data, err := dataOf(raw)
	if err != nil {
		return 0, "", nil, err
	}
	switch {
	case media == "":
	case kind == message.Binary:
		return 0, "", nil, fmt.Errorf("invalid type %q beside the type of bytes", media)
	case kind != message.Text:
		return 0, "", nil, fmt.Errorf("invalid type %q: data of this type must be a string", media)
	default:
		known = media
	}
	return kind, known, data, nil
}

// isJSONType reports whether data of a media type is JSON, as [Content] does.
func isJSONType(media string) bool {
	kind, _, err := mime.ParseMediaType(media)
	return err == nil && (kind == jsonType || strings.HasSuffix(kind, "+json"))
}

// MaxRecord returns how many bytes a line of an import may have if its message may have so many of data: text
// may have six bytes for one, and a name, a key and a type come with it.
func MaxRecord(message int) int64 { return 6*min(int64(message), 1<<40) + 16<<10 }
