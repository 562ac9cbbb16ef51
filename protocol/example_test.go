package protocol_test

import (
	"context"
	"fmt"
	"strings"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/protocol"
)

// printer is a caller without a connection whose answers are printed, without times.
type printer struct{ *hub.Caller }

func (printer) Answer(object []byte) {
	before, _, _ := strings.Cut(string(object), `,"at":`)
	fmt.Println(before)
}

// A command comes as a line of JSON, is carried out for a caller, and answered.
func ExampleCommand_Do() {
	ctx := context.Background()
	h, err := hub.New(settings.Defaults(), hub.NewMemory())
	if err != nil {
		panic(err)
	}
	defer h.Close(ctx)

	e := printer{h.Caller(hub.Client{})}
	for _, line := range []string{
		`{"op":"signal","room":"lobby","event":"typing","ref":1}`,
		`{"op":"publish","room":"lobby/"}`,
	} {
		command, err := protocol.Decode([]byte(line))
		if err != nil {
			fmt.Println(string(command.Refusal(err)))
			continue
		}
		if err := command.Do(ctx, e, false); err != nil {
			fmt.Println("not carried out:", err)
		}
	}
	// Output:
	// {"op":"ok","ref":1,"room":"lobby"
	// {"op":"error","room":"lobby/","status":400,"title":"bad request","detail":"bad room name: it has an empty segment (a slash at an end, or two in a row)","field":"room"}
}
