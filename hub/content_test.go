package hub_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/names"
)

// Whichever way it comes in, what is stored as text or JSON is that.
func TestNothingButTextAndJSONIsStored(t *testing.T) {
	ann := &hub.User{ID: "ann"}
	for name, test := range map[string]struct {
		p    hub.Publication
		user *hub.User
		want error
	}{
		"text":                    {hub.Publication{Kind: message.Text, Data: []byte("naïve")}, ann, nil},
		"text that is not UTF-8":  {hub.Publication{Kind: message.Text, Data: []byte("\xff")}, ann, hub.ErrData},
		"half a rune":             {hub.Publication{Kind: message.Text, Data: []byte("a\xe2\x82")}, ann, hub.ErrData},
		"a surrogate":             {hub.Publication{Kind: message.Text, Data: []byte("\xed\xa0\x80")}, ann, hub.ErrData},
		"JSON":                    {hub.Publication{Kind: message.JSON, Data: []byte(`{"a":"ï"}`)}, ann, nil},
		"JSON that is not UTF-8":  {hub.Publication{Kind: message.JSON, Data: []byte("\"\xff\"")}, ann, hub.ErrData},
		"JSON that is none":       {hub.Publication{Kind: message.JSON, Data: []byte(`{`)}, ann, hub.ErrData},
		"JSON that is empty":      {hub.Publication{Kind: message.JSON}, ann, hub.ErrData},
		"JSON on two lines":       {hub.Publication{Kind: message.JSON, Data: []byte("[1,\n2]")}, ann, hub.ErrData},
		"two values":              {hub.Publication{Kind: message.JSON, Data: []byte(`1 2`)}, ann, hub.ErrData},
		"bytes":                   {hub.Publication{Kind: message.Binary, Data: []byte("\xff")}, ann, nil},
		"no kind":                 {hub.Publication{Kind: 9}, ann, hub.ErrData},
		"key that is not UTF-8":   {hub.Publication{Key: "k\xff"}, ann, names.ErrKey},
		"long key":                {hub.Publication{Key: strings.Repeat("k", names.MaxKey+1)}, ann, names.ErrKey},
		"type that is not UTF-8":  {hub.Publication{Type: "image/\xff"}, ann, names.ErrType},
		"long type":               {hub.Publication{Type: strings.Repeat("t", names.MaxType+1)}, ann, names.ErrType},
		"event that is not UTF-8": {hub.Publication{Event: "e\xff"}, ann, names.ErrEvent},
		"user that is not UTF-8":  {hub.Publication{}, &hub.User{ID: "ann\xff"}, names.ErrUser},
		"name that is not UTF-8":  {hub.Publication{}, &hub.User{ID: "ann", Name: "\xc3"}, names.ErrUser},
		"user without an id":      {hub.Publication{}, &hub.User{Name: "Ann"}, names.ErrUser},
		"user like a stranger":    {hub.Publication{}, &hub.User{ID: "~ann"}, names.ErrUser},
		"user that is not NFC":    {hub.Publication{}, &hub.User{ID: "e\u0301"}, names.ErrUser},
		"user that is invisible":  {hub.Publication{}, &hub.User{ID: "ann\u200b"}, names.ErrUser},
		"user with a line":        {hub.Publication{}, &hub.User{ID: "ann\n"}, names.ErrUser},
		"name that is not NFC":    {hub.Publication{}, &hub.User{ID: "ann", Name: "e\u0301"}, names.ErrUser},
		"name that is backwards":  {hub.Publication{}, &hub.User{ID: "ann", Name: "\u202ebob"}, names.ErrUser},
		"name with a tilde":       {hub.Publication{}, &hub.User{ID: "ann", Name: "~Ann~"}, nil},
		"long name":               {hub.Publication{}, &hub.User{ID: "ann", Name: strings.Repeat("a", names.MaxUser+1)}, names.ErrUser},
		"user in any script":      {hub.Publication{}, &hub.User{ID: "caf\u00e9 日本", Name: "Ünal"}, nil},
		"user with a long id":     {hub.Publication{}, &hub.User{ID: strings.Repeat("a", names.MaxUser+1)}, names.ErrUser},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
				checkContent(t, h, test.p, test.user, test.want)
			})
		})
	}
}

// checkContent checks that every way to publish gives the error, and that nothing is kept if there is one.
func checkContent(t *testing.T, h *hub.Hub, p hub.Publication, user *hub.User, want error) {
	t.Helper()
	p.Room = "r"
	if _, err := h.Caller(hub.Client{User: user}).Publish(t.Context(), p); !errors.Is(err, want) {
		t.Errorf("published: %v, want %v", err, want)
	}
	signal := p
	signal.Signal = true
	if _, err := h.Caller(hub.Client{User: user}).Publish(t.Context(), signal); !errors.Is(err, want) {
		t.Errorf("signalled: %v, want %v", err, want)
	}
	if s, err := h.Connect(hub.Client{User: user}, deaf{}); err == nil {
		if _, err = s.Publish(t.Context(), p); !errors.Is(err, want) {
			t.Errorf("published by a session: %v, want %v", err, want)
		}
		s.End(hub.CauseLeft)
	} else if !errors.Is(err, want) {
		t.Errorf("connecting: %v, want %v", err, want)
	}
	if n := len(read(t, h, "r", hub.Query{Last: 9, Limit: 9})); (n > 0) != (want == nil) {
		t.Errorf("%d messages are kept", n)
	}
}

func TestNothingButJSONIsShown(t *testing.T) {
	for name, test := range map[string]struct {
		state string
		want  error
	}{
		"compact":        {`{"a":1}`, nil},
		"with spaces":    {"{ \"a\" :\n1 }", nil},
		"not UTF-8":      {"\"\xff\"", hub.ErrState},
		"not JSON":       {`{`, hub.ErrState},
		"empty":          {``, hub.ErrState},
		"too large":      {`"` + strings.Repeat("x", hub.MaxState) + `"`, hub.ErrState},
		"large by space": {`{"a":` + strings.Repeat(" ", hub.MaxState) + `1}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
				s := connect(t, h, hub.Client{})
				_, joined := s.Subscribe(t.Context(), "a", hub.Start{State: []byte(test.state)})
				join(t, s, "b", hub.Start{})
				v := h.Caller(hub.Client{ID: "visitor"})
				_, visited := v.Subscribe(t.Context(), "c", hub.Start{State: []byte(test.state)})
				for door, err := range map[string]error{
					"join": joined, "state": s.Show(t.Context(), "b", []byte(test.state)), "visit": visited,
					"renewed": v.Renew(t.Context(), "d", []byte(test.state)),
				} {
					if !errors.Is(err, test.want) {
						t.Errorf("%s: %v, want %v", door, err, test.want)
					}
				}
				for _, room := range []string{"a", "b", "c", "d"} {
					p, err := h.Caller(hub.Client{}).Presence(room)
					if err != nil {
						t.Fatal(err)
					}
					if (len(p.Here) > 0) != (test.want == nil) {
						t.Errorf("%s: %d are listed", room, len(p.Here))
					}
					for _, m := range p.Here {
						if string(m.State) != `{"a":1}` || cap(m.State) > 16 {
							t.Errorf("%s shows %q in an array of %d bytes", room, m.State, cap(m.State))
						}
					}
				}
			})
		})
	}
}
