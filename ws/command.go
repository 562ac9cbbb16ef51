package ws

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws/frame"
)

// The part of a connection that speaks realtime.v1.

// maxRubbish is how many commands in a row may make no sense before the
// connection ends with 4400.
const maxRubbish = 10

// errScope refuses what is about another room than those of the URL.
var errScope = &protocol.Problem{
	Status: http.StatusForbidden, Title: "not allowed", Field: "room",
	Detail: "this connection is about the rooms that its URL names; connect to the hub's own URL for others",
}

var errRubbish = errors.New("too many commands that make no sense")

// command carries out the commands of one frame, each on a line of its own. It
// returns an error if the connection must end.
func (c *conn) command(event frame.Event) error {
	if event.Op != frame.Text {
		return c.nonsense(new(protocol.Command), protocol.Bad("commands are text, not bytes"))
	}
	if len(bytes.TrimSpace(event.Data)) == 0 {
		c.session.Answer([]byte{'\n'}) // a sign of life: scripts see no ping
		return nil
	}
	for line := range bytes.SplitSeq(event.Data, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if err := c.obey(line); err != nil {
			return err
		}
	}
	return nil
}

// obey carries out one command.
func (c *conn) obey(line []byte) error {
	command, err := protocol.Decode(line)
	if err != nil {
		return c.nonsense(command, err)
	}
	c.rubbish = 0
	if c.scope != nil && !slices.Contains(c.scope, command.Room) {
		// What stands before us judges by the path, and has judged this one.
		c.session.Answer(command.Refusal(errScope))
		return nil
	}
	err = command.Do(context.Background(), c.session, false)
	switch {
	case errors.Is(err, hub.ErrEnded), errors.Is(err, hub.ErrDraining):
		return err
	case !errors.Is(err, hub.ErrRate):
		c.refused = 0
		return nil
	}
	if c.refused++; c.refused > maxRefused {
		return err
	}
	return nil
}

// nonsense answers a command that makes none.
func (c *conn) nonsense(command *protocol.Command, err error) error {
	c.session.Answer(command.Refusal(err))
	if c.rubbish++; c.rubbish > maxRubbish {
		return errRubbish
	}
	return nil
}
