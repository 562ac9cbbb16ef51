package ws

import (
	"bytes"
	"errors"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/limit"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/ws/frame"
)

// The part of a connection that speaks realtime.v1.

// maxRubbish is how many commands in a row may be malformed before the connection
// ends with 4400.
const maxRubbish = 10

var errRubbish = errors.New("too many commands that make no sense")

// command executes the commands of one frame, one on each line. It returns an error
// if the connection must end.
func (c *conn) command(event frame.Event) error {
	if event.Op != frame.Text {
		return c.nonsense(new(protocol.Command), protocol.Bad("commands must be text, not bytes"))
	}
	if len(bytes.TrimSpace(event.Data)) == 0 {
		c.Session.Answer([]byte{'\n'}) // a sign of life: scripts see no ping
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

// obey executes one command. It returns an error if the connection must end.
func (c *conn) obey(line []byte) error {
	defer c.Session.Hold()()
	command, err := protocol.Decode(line)
	if err != nil {
		return c.nonsense(command, err)
	}
	c.rubbish = 0
	err = command.Do(c.Session.Context(), c.Session, false)
	switch {
	case errors.Is(err, hub.ErrEnded):
		return err
	case !errors.Is(err, limit.ErrRate):
		c.refused = 0
		return nil
	}
	if c.refused++; c.refused > maxRefused {
		return err
	}
	return nil
}

// nonsense answers a malformed command. It returns an error if there were too many.
func (c *conn) nonsense(command *protocol.Command, err error) error {
	c.Session.Answer(command.Refusal(err))
	if c.rubbish++; c.rubbish > maxRubbish {
		return errRubbish
	}
	return nil
}
