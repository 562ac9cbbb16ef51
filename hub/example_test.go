package hub_test

import (
	"context"
	"fmt"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/hub/settings"
)

// A session subscribes, and its owner writes what is due to it.
func Example() {
	ctx := context.Background()
	h, err := hub.New(settings.Defaults(), hub.NewMemory())
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)

	wake := make(hub.WakeChan, 1)
	session, err := h.Connect(hub.Client{User: &hub.User{ID: "ann"}}, wake)
	if err != nil {
		panic(err)
	}
	if _, err := session.Subscribe(ctx, "lobby", hub.Start{}); err != nil {
		panic(err)
	}
	_, _ = session.Publish(ctx, hub.Publication{Room: "lobby", Kind: message.Text, Data: []byte("hi")})

	for range wake {
		items, _ := session.Next(make([]hub.Item, 0, 16))
		for _, it := range items {
			if m := it.Message; m != nil {
				fmt.Printf("%s in %s: %s\n", m.From.ID, m.Room, m.Data)
				session.End(hub.CauseLeft)
			}
		}
		if session.Ended() != 0 {
			break
		}
	}
	// Output: ann in lobby: hi
}

// A backend publishes, and a page reads what came after its cursor: neither has a
// session.
func ExampleHub_Caller() {
	ctx := context.Background()
	h, err := hub.New(settings.Defaults(), hub.NewMemory())
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)

	backend, page := h.Caller(hub.Client{}), h.Caller(hub.Client{Scope: []string{"orders"}})
	cursor, _ := page.Tail(ctx, "orders")
	for _, text := range []string{"one", "two"} {
		_, _ = backend.Publish(ctx, hub.Publication{Room: "orders", Kind: message.Text, Data: []byte(text)})
	}
	read, _ := page.Read(ctx, "orders", hub.Query{After: cursor, Limit: 10})
	for _, m := range read.Messages {
		fmt.Printf("%s\n", m.Data)
	}
	_, err = page.Read(ctx, "invoices", hub.Query{Last: 1, Limit: 1})
	fmt.Println(err)
	// Output:
	// one
	// two
	// another room than those of the connection
}
