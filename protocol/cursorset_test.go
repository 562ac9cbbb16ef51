package protocol_test

import (
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

func TestCursorSet(t *testing.T) {
	v := protocol.CursorSet{{Room: "lobby", Position: pos}, {Room: "a/b,c=é%", Position: hub.Position{Epoch: "e", Offset: 1}}, {Room: "none"}}
	const text = "lobby=k3f9.1042,a%2Fb%2Cc%3D%C3%A9%25=e.1"
	if got := v.String(); got != text {
		t.Errorf("text %q", got)
	}
	got, err := protocol.ParseCursorSet(text)
	if err != nil || len(got) != 2 || got[0].Room != "lobby" || got[1].Room != v[1].Room || got[1].Position != v[1].Position {
		t.Errorf("parsed %v, %v", got, err)
	}
	got.Move("lobby", hub.Position{Epoch: "x", Offset: 7})
	got.Move("elsewhere", pos)
	if p, ok := got.Find("lobby"); !ok || p.String() != "x.7" || len(got) != 2 {
		t.Errorf("moved to %v", got)
	}
	if _, ok := got.Find("elsewhere"); ok {
		t.Error("it has no place elsewhere")
	}
	for _, bad := range []string{"", "k3f9.1042", "a=", "a=1", "a=e.1,", "a=e.1,b", "%zz=e.1", "cafe%CC%81=e.1", "a%2F=e.1", "%2A=e.1", strings.Repeat("a=e.1,", 101) + "a=e.1"} {
		if v, err := protocol.ParseCursorSet(bad); err == nil {
			t.Errorf("%q became %v", bad, v)
		}
	}
}

// A long name is replaced with its hash, and its cursor is found under that.
func TestCursorSetOfLongNames(t *testing.T) {
	long, other := strings.Repeat("日本/", 25), strings.Repeat("x", 200)
	v := protocol.CursorSet{{Room: long, Position: pos}, {Room: "+AAAAAAAAAAA", Position: hub.Position{Epoch: "e", Offset: 2}}}
	text := v.String()
	if len(text) > 70 || !strings.HasPrefix(text, "*") || !strings.HasSuffix(text, ",%2BAAAAAAAAAAA=e.2") {
		t.Errorf("text %q", text)
	}
	got, err := protocol.ParseCursorSet(text + "," + other + "=e.3")
	if err != nil {
		t.Fatal(err)
	}
	for room, want := range map[string]string{long: pos.String(), "+AAAAAAAAAAA": "e.2", other: "e.3"} {
		if p, ok := got.Find(room); !ok || p.String() != want {
			t.Errorf("%.10s is at %v, %t, want %s", room, p, ok, want)
		}
	}
	if _, ok := got.Find(long + "x"); ok {
		t.Error("a room was found that is not there")
	}
	rooms := make([]string, protocol.MaxRooms)
	all := make(protocol.CursorSet, len(rooms))
	for i := range rooms {
		rooms[i] = strings.Repeat("é", 99) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		all[i] = protocol.RoomCursor{Room: rooms[i], Position: pos}
	}
	if n := len(all.String()); n > protocol.CursorSetSize(rooms, len(pos.String())) || n > protocol.MaxCursor {
		t.Errorf("the cursor of 100 rooms has %d bytes", n)
	}
}

// FuzzCursorSet checks that a cursor that can be read is written in the same way.
func FuzzCursorSet(f *testing.F) {
	f.Add("lobby=k3f9.1042,a%2Fb=e.1")
	f.Fuzz(func(t *testing.T, s string) {
		v, err := protocol.ParseCursorSet(s)
		if err != nil {
			return
		}
		again, err := protocol.ParseCursorSet(v.String())
		if err != nil || again.String() != v.String() {
			t.Errorf("%q became %v and then %v, %v", s, v, again, err)
		}
		for _, p := range v {
			if at, ok := again.Find(p.Room); p.Room != "" && (!ok || len(v) == 1 && at != p.Position) {
				t.Errorf("%q: %q is at %v, not %v", s, p.Room, at, p.Position)
			}
		}
	})
}

func TestPresence(t *testing.T) {
	ann := hub.Member{ID: "u1", Name: "Ann", State: []byte(`{"a":1}`)}
	anon := hub.Member{ID: "~x", State: []byte(`null`)}
	for _, test := range []struct {
		name string
		p    *hub.Presence
		all  bool
		want string
	}{
		{"snapshot", &hub.Presence{Room: "r", Members: 3, Snapshot: true, Here: []hub.Member{ann, anon}}, false, `{"op":"presence","room":"r","members":3,"here":[{"id":"u1","name":"Ann","state":{"a":1}},{"id":"~x","state":null}]}`},
		{"nobody", &hub.Presence{Room: "r", Snapshot: true}, false, `{"op":"presence","room":"r","members":0,"here":[]}`},
		{"differences", &hub.Presence{Room: "r", Members: 2, Enter: []hub.Member{anon}, Update: []hub.Member{ann}, Leave: []hub.Departure{{ID: "u2", Why: hub.WhyLeft}}}, false, `{"op":"presence","room":"r","members":2,"enter":[{"id":"~x","state":null}],"update":[{"id":"u1","name":"Ann","state":{"a":1}}],"leave":[{"id":"u2","why":"left"}]}`},
		{"others, who show nothing", &hub.Presence{Room: "r", Members: 2}, false, `{"op":"presence","room":"r","members":2,"enter":[]}`},
		{"number alone", &hub.Presence{Room: "r", Members: 2, Numbers: true, Enter: []hub.Member{ann}}, true, `{"op":"presence","room":"r","members":2}`},
		{"large", &hub.Presence{Room: "r", Members: 1001, Snapshot: true, Here: []hub.Member{ann}}, false, `{"op":"presence","room":"r","members":1001}`},
		{"large, and all wanted", &hub.Presence{Room: "r", Members: 1001, Snapshot: true, Here: []hub.Member{anon}}, true, `{"op":"presence","room":"r","members":1001,"here":[{"id":"~x","state":null}]}`},
	} {
		if got := string(protocol.Presence(test.p, test.all)); got != test.want {
			t.Errorf("%s: got  %s\nwant %s", test.name, got, test.want)
		}
	}
	if got := string(whole(protocol.Members(&hub.Presence{Room: "r", Members: 1, Snapshot: true, Here: []hub.Member{anon}}, false))); got != `{"room":"r","members":1,"here":[{"id":"~x","state":null}]}`+"\n" {
		t.Errorf("document %s", got)
	}
}

func TestPageOfSeveralRooms(t *testing.T) {
	p := &protocol.Page{
		Rooms: []string{"a", "b"}, Several: true, Conn: "c", Cursor: "a=e.1", Gaps: []*hub.Gap{{Room: "a", To: pos, Reason: message.GapEpoch}, {Room: "b", To: pos, Reason: message.GapSlow}},
		Presence: []*hub.Presence{{Room: "b", Members: 1, Snapshot: true}, {Room: "a", Members: 1}}, PresenceCursor: hub.Position{Epoch: "h", Offset: 2},
	}
	const want = `{"rooms":["a","b"],"cursor":"a=e.1","conn":"c","gaps":[{"op":"gap","room":"a","to":"k3f9.1042","reason":"epoch"},{"op":"gap","room":"b","to":"k3f9.1042","reason":"slow"}],"messages":[],"more":false,` +
		`"presence":[{"op":"presence","room":"b","members":1,"here":[]},{"op":"presence","room":"a","members":1,"enter":[]}],"presence_cursor":"h.2"}`
	if got := string(whole(p.Parts)); got != want+"\n" {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
