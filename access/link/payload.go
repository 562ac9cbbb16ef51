package link

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub/names"
)

// Link is what a link says. Either Room or Pattern is set.
type Link struct {
	// Hub is the name of the hub; empty for the hub without a name.
	Hub string
	// Host is the host that the link is good for, as [Host] returns it.
	Host string
	// Room is the name of the one room.
	Room string
	// Pattern is the beginning of the rooms' names, followed by "*".
	Pattern string
	// Verbs are the names of verbs, at least one. They are not checked any further: what a server
	// does not know is not granted.
	Verbs []string
	// Name is the name that others see, at most 40 characters; empty for none.
	Name string
	// Expires is when the link ends, to the second; at most [MaxLife] after it was signed.
	Expires time.Time
	// ID is unique to the link, and names who uses it: 1 to 64 letters, digits, "-" and "_".
	ID string
	// Uses is how many streams, sockets and publications may be opened with the link; 0 for any
	// number. See [Uses].
	Uses int

	// KeyID is the id of the key that a verified link was signed with. [Key.Sign] ignores it.
	KeyID string
}

const (
	maxName  = 40 // characters
	maxID    = 64 // bytes
	maxVerbs = 8
	maxUses  = 1_000_000
	maxHost  = 253 // bytes, RFC 1035, section 2.3.4
)

// payload is a link as JSON.
type payload struct {
	Hub     string   `json:"hub,omitempty"`
	Host    string   `json:"host"`
	Room    string   `json:"room,omitempty"`
	Pattern string   `json:"pattern,omitempty"`
	Verbs   []string `json:"verbs"`
	Name    string   `json:"name,omitempty"`
	Exp     int64    `json:"exp"` // seconds since 1970
	JTI     string   `json:"jti"`
	Uses    int      `json:"uses,omitempty"`
}

// encode returns the link as compact JSON, without escapes for HTML.
func (l *Link) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(payload{l.Hub, l.Host, l.Room, l.Pattern, l.Verbs, l.Name, l.Expires.Unix(), l.ID, l.Uses})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// parsePayload parses what a key has signed. A field that is unknown is an error: it may be a
// limit that a newer version of the server would keep.
func parsePayload(text []byte, now time.Time) (Link, error) {
	var p payload
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if d.Decode(&p) != nil {
		return Link{}, errors.New("it is not an object of known fields")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Link{}, errors.New("something follows the object")
	}
	l := Link{Hub: p.Hub, Host: p.Host, Room: p.Room, Pattern: p.Pattern, Verbs: p.Verbs, Name: p.Name, Expires: time.Unix(p.Exp, 0), ID: p.JTI, Uses: p.Uses}
	return l, l.check(now)
}

// check returns an error that names the field that is wrong.
func (l *Link) check(now time.Time) error {
	err := l.checkRooms()
	switch {
	case err != nil:
	case l.Host == "" || l.Host != Host(l.Host):
		err = errors.New("host must be a host without port, in lower case")
	case len(l.Verbs) == 0 || len(l.Verbs) > maxVerbs:
		err = fmt.Errorf("verbs must be 1 to %d", maxVerbs)
	case slices.ContainsFunc(l.Verbs, func(v string) bool { return !isWord(v, 32) }):
		err = errors.New("a verb has other characters than letters, digits, - and _")
	case !isText(l.Name) || utf8.RuneCountInString(l.Name) > maxName:
		err = fmt.Errorf("the name must be at most %d characters, without control characters", maxName)
	case l.Hub != "" && !isWord(l.Hub, 64):
		err = errors.New("hub must be up to 64 letters, digits, - and _")
	case l.Expires.Unix() <= 0:
		err = errors.New("exp is required")
	case l.Expires.Unix()-now.Unix() > int64((MaxLife+skew)/time.Second): // a huge time may wrap around
		err = fmt.Errorf("exp is more than %d days ahead", MaxLife/(24*time.Hour))
	case !isWord(l.ID, maxID):
		err = fmt.Errorf("jti must be 1 to %d letters, digits, - and _", maxID)
	case l.Uses < 0 || l.Uses > maxUses:
		err = fmt.Errorf("uses must be from 1 to %d", maxUses)
	}
	return err
}

func (l *Link) checkRooms() error {
	if (l.Room == "") == (l.Pattern == "") {
		return errors.New("either room or pattern must be set")
	}
	text, check := l.Room, names.CheckRoom
	if l.Pattern != "" {
		text, check = l.Pattern, names.CheckPattern
		if !strings.HasSuffix(text, "*") {
			return errors.New("a pattern must end in *; for one room use room")
		}
	}
	if strings.ContainsAny(text, "{}") || strings.Contains(l.Room, "*") {
		return errors.New("braces are not allowed in room and pattern, nor * in room")
	}
	return check(text)
}

// Match reports whether the link is about a room, whose name is valid. Names that begin with "-/"
// are the server's own.
func (l *Link) Match(room string) bool {
	switch {
	case room == "" || strings.HasPrefix(room, "-/"):
		return false
	case l.Pattern == "":
		return room == l.Room
	default:
		return strings.HasPrefix(room, strings.TrimSuffix(l.Pattern, "*"))
	}
}

// Host returns the host of a Host header (RFC 9110, section 7.2), without the port and in lower
// case; an IPv6 address without brackets. It returns "" for what cannot be one.
func Host(header string) string {
	host := header
	if a, err := netip.ParseAddr(header); err != nil || !a.Is6() {
		if i := strings.LastIndexByte(header, ':'); i >= 0 && !strings.HasSuffix(header, "]") {
			host = header[:i]
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		if host, ok = strings.CutSuffix(inner, "]"); !ok {
			return ""
		}
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return a.String()
	}
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if len(host) > maxHost || strings.ContainsFunc(host, func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}) {
		return ""
	}
	return host
}

// isWord reports whether a text is 1 to most letters, digits, "-" and "_".
func isWord(s string, most int) bool {
	return s != "" && len(s) <= most && !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// isText reports whether a text is UTF-8 without control characters.
func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < 0x20 || r >= 0x7f && r < 0xa0 })
}
