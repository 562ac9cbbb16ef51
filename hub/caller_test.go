package hub_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/names"
)

// There is one door: what anybody does in a room is a method of a Caller. Each other
// method of a Hub says here why it needs none.
func TestOneDoor(t *testing.T) {
	reasons := map[string]string{
		"Caller":         "makes a caller",
		"Connect":        "makes a session, which is a caller, and looks at no room",
		"NewConn":        "makes an id and looks at no room",
		"Owns":           "looks at an id and at no room",
		"Configure":      "the operator's",
		"Authorize":      "the operator's: it says what the door decides",
		"Trust":          "the operator's: it says which credentials count",
		"Revoke":         "the operator's: it says which credentials count no more",
		"Revocations":    "the operator's: lists names of credentials",
		"Revoked":        "looks at a credential and at no room",
		"Subkey":         "makes a key and looks at no room",
		"ReportFailure":  "looks at an address and at no room",
		"Settings":       "the operator's",
		"SetLogger":      "the operator's",
		"Logger":         "the operator's",
		"Stats":          "the operator's: sums over all rooms",
		"Sessions":       "the operator's: each session is a caller",
		"Open":           "the operator's",
		"Close":          "the operator's",
		"Drain":          "the operator's",
		"Operate":        "the operator's",
		"Erase":          "the operator's: takes messages out of all rooms, for who has the admin API",
		"Export":         "the operator's: reads all rooms, likewise",
		"Import":         "the operator's: publishes as whoever the file says, likewise",
		"Draining":       "the operator's",
		"StopAccepting":  "the operator's",
		"MaxMessageSize": "a setting, which bounds what is read before there is something to decide on",
		"Addresses":      "the tests'", "Check": "the tests'", "Keeps": "the tests'", "Knows": "the tests'", "Unlocked": "the tests'",
		"MayTry":          "looks at an address and at no room",
		"SpendFailure":    "likewise",
		"Returning":       "looks at the cursor of a client that has been let in, and at the time",
		"SubscriberCount": "spreads connections over shards; no client is told",
	}
	var methods []string
	for m := range reflect.TypeFor[*hub.Hub]().Methods() {
		methods = append(methods, m.Name)
	}
	if want := slices.Sorted(maps.Keys(reasons)); !slices.Equal(methods, want) {
		t.Errorf("a Hub has the methods\n%q, and reasons are given for\n%q", methods, want)
	}
}

// triesOf returns everything that a caller does in a room, by method.
func triesOf(caller *hub.Caller) map[string]func(ctx context.Context, room string) error {
	return map[string]func(ctx context.Context, room string) error{
		"Publish": func(ctx context.Context, room string) error {
			_, err := caller.Publish(ctx, hub.Publication{Room: room})
			return err
		},
		"Subscribe": func(ctx context.Context, room string) error {
			_, err := caller.Subscribe(ctx, room, hub.Start{})
			return err
		},
		"Show":  func(ctx context.Context, room string) error { return caller.Show(ctx, room, []byte(`1`)) },
		"Renew": func(ctx context.Context, room string) error { return caller.Renew(ctx, room, nil) },
		"Read": func(ctx context.Context, room string) error {
			_, err := caller.Read(ctx, room, hub.Query{})
			return err
		},
		"History": func(ctx context.Context, room string) error {
			_, err := caller.History(ctx, room, hub.Query{})
			return err
		},
		"Tail": func(ctx context.Context, room string) error {
			_, err := caller.Tail(ctx, room)
			return err
		},
		"Presence": func(_ context.Context, room string) error {
			_, err := caller.Presence(room)
			return err
		},
		"MemberCount": func(_ context.Context, room string) error {
			_, err := caller.MemberCount(room)
			return err
		},
		"PresenceSince": func(_ context.Context, room string) error {
			if all, _ := caller.PresenceSince([]string{room}, hub.Position{}); len(all) == 0 {
				return hub.ErrScope
			}
			return nil
		},
		"May": func(_ context.Context, room string) error { return caller.May(hub.VerbPublish, room) },
		"Rights": func(_ context.Context, room string) error {
			if caller.Rights(room).Can == 0 {
				return hub.ErrScope
			}
			return nil
		},
		"Unsubscribe": func(_ context.Context, room string) error { return caller.Unsubscribe(room) },
	}
}

// A caller, with a session or without, can act only in the rooms of its scope. A method
// that is not tried here fails the test.
func TestScope(t *testing.T) {
	bubble(t, configured(), func(t *testing.T, h *hub.Hub) {
		publish(t, h, "other", "x")
		client := hub.Client{Scope: []string{"r"}}
		session := connect(t, h, client)
		client.ID = session.ID()
		for kind, caller := range map[string]*hub.Caller{"session": &session.Caller, "request": h.Caller(client)} {
			tries := triesOf(caller)
			about := []string{"Client", "ID", "CanConnect", "Occupy", "Authenticate"} // the client, and no room
			for m := range reflect.TypeFor[*hub.Caller]().Methods() {
				if tries[m.Name] == nil && !slices.Contains(about, m.Name) {
					t.Errorf("%s is not tried", m.Name)
				}
			}
			for _, name := range slices.Sorted(maps.Keys(tries)) { // Subscribe before Unsubscribe
				if err := tries[name](t.Context(), "other"); !errors.Is(err, hub.ErrScope) {
					t.Errorf("%s, %s outside of the scope: %v", kind, name, err)
				}
				if err := tries[name](t.Context(), ""); !errors.Is(err, names.ErrRoom) && !errors.Is(err, hub.ErrScope) {
					t.Errorf("%s, %s without a room: %v", kind, name, err)
				}
				if err := tries[name](t.Context(), "r"); err != nil && !errors.Is(err, hub.ErrNotJoined) {
					t.Errorf("%s, %s within the scope: %v", kind, name, err)
				}
			}
		}
		if n := h.SubscriberCount("other"); n != 0 {
			t.Errorf("%d subscribers", n)
		}
	})
}
