package serve

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
)

// Bounds of a POST of commands.
const (
	maxCommands     = 1000    // in one request
	maxCommandBytes = 8 << 20 // of one request's body
	maxAnswers      = 1 << 20 // bytes of answers after which no history is answered
)

// commands executes a POST of commands, one on each line, and answers each with a line.
func (s *Server) commands(w http.ResponseWriter, r *http.Request, c hub.Client) error {
	caller := s.Hub.Caller(c)
	leave, err := caller.Occupy()
	if err != nil {
		return err
	}
	defer leave()
	body, err := readBody(w, r, maxCommandBytes, fmt.Sprintf("a body of commands may have at most %d bytes", maxCommandBytes))
	if err != nil {
		return err
	}
	e := &gatherer{Caller: caller}
	n := 0
	for line := range bytes.SplitSeq(body, []byte{'\n'}) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		if n++; n > maxCommands {
			e.Answer(new(protocol.Command).Refusal(protocol.Bad("one request may have at most %d commands; this one and those after it were not executed", maxCommands)))
			break
		}
		command, err := protocol.Decode(line)
		if err != nil {
			e.Answer(command.Refusal(err))
			continue
		}
		if command.Op == protocol.OpHistory && len(e.answers) > maxAnswers {
			e.Answer(command.Refusal(&protocol.Problem{
				Status: http.StatusRequestEntityTooLarge, Title: "answer too large",
				Detail: "the answers to this request exceed 1 MiB; ask in another request",
			}))
			continue
		}
		// The client has got the error as an answer.
		if err := command.Do(r.Context(), e, true); err != nil && protocol.ProblemOf(err).Status == http.StatusInternalServerError {
			s.Log.Error("executing a command", "error", err)
		}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	poll.Write(w, slices.Values([][]byte{e.answers}))
	return nil
}

// gatherer is a caller that gathers its answers. It implements protocol.Executor.
type gatherer struct {
	*hub.Caller
	answers []byte
}

// Answer implements protocol.Executor.
func (g *gatherer) Answer(object []byte) {
	g.answers = append(append(g.answers, object...), '\n')
}

// Subscribe implements protocol.Executor. It sends the answer, because
// [hub.Caller.Subscribe] does so only for a session.
func (g *gatherer) Subscribe(ctx context.Context, room string, start hub.Start) (hub.Joined, error) {
	joined, err := g.Caller.Subscribe(ctx, room, start)
	if err == nil {
		g.Answer(start.Answer(joined))
	}
	return joined, err
}
