package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/poll"
	"github.com/caddy-realtime/realtime/protocol"
)

// bodyTime is how long a body may take to arrive.
const bodyTime = 60 * time.Second

// publish publishes the body of a POST.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, c hub.Client, room string, form bool) error {
	if form {
		if err := s.formProtection(r); err != nil {
			return err
		}
	}
	p, err := publication(r, room)
	if err != nil {
		return err
	}
	limit := int64(s.Hub.MaxMessageSize(room))
	detail := fmt.Sprintf("max_message_size is %d", limit)
	fields := form || isFormData(r.Header)
	if fields {
		limit = min(limit, math.MaxInt64/4)*3 + maxFormRest // percent-encoding may triple it
	}
	body, err := readBody(w, r, limit, detail)
	if err != nil {
		return err
	}
	contentType := r.Header.Get("Content-Type")
	if fields {
		fields, err := formFields(contentType, body)
		if err != nil {
			return err
		}
		if contentType, body, err = formContent(fields); err != nil {
			return err
		}
	}
	if p.Kind, p.Data, err = protocol.Content(contentType, body); err != nil {
		return err
	}
	p.Type = contentType
	receipt, err := s.Hub.Caller(c).Publish(r.Context(), p)
	if err != nil {
		return err
	}
	if form {
		back(w, r)
		return nil
	}
	w.Header().Set("Content-Type", "application/json")
	status := http.StatusCreated
	if p.Signal {
		status = http.StatusAccepted
	}
	w.WriteHeader(status)
	_, _ = w.Write(append(protocol.Receipt(receipt), '\n')) // the client may have gone
	return nil
}

// publication parses the options of a POST: standard headers, or query parameters from
// clients that cannot send headers.
func publication(r *http.Request, room string) (hub.Publication, error) {
	query := queryOf(r)
	option := func(header, parameter string) string {
		if v := r.Header.Get(header); v != "" {
			return v
		}
		return query.Get(parameter)
	}
	p := hub.Publication{Room: room, Event: option("Realtime-Event", "event")}
	// The header is a string in the sense of RFC 9651, but many clients send it bare.
	p.Key = strings.Clone(strings.Trim(option("Idempotency-Key", "key"), `"`))
	if p.Event == protocol.DefaultEvent {
		p.Event = ""
	}
	p.Event = strings.Clone(p.Event)
	if ttl := option("Ttl", "ttl"); ttl != "" {
		if !isSeconds(ttl) { // RFC 8030, section 5.2
			return p, protocol.Bad("TTL %q: must be a number of seconds", ttl)
		}
		n, _ := strconv.Atoi(ttl)
		p.TTL, p.Signal = time.Duration(n)*time.Second, n == 0
	}
	return p, nil
}

// readBody reads a body of at most limit bytes; detail is that of the refusal of a
// larger one.
func readBody(w http.ResponseWriter, r *http.Request, limit int64, detail string) ([]byte, error) {
	tooLarge := &protocol.Problem{Status: http.StatusRequestEntityTooLarge, Title: "message too large", Detail: detail}
	if r.ContentLength > limit {
		return nil, tooLarge // a client that waits for 100 Continue need not send it
	}
	// A server without deadlines bounds the time itself.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime))
	// Without a writer it does not close the connection: dropRest does, if it must.
	limit = min(limit, math.MaxInt64-1)
	body, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, limit))
	over, isOver := errors.AsType[*http.MaxBytesError](err)
	switch {
	case err == nil:
		r.Body = http.NoBody // it has been read
		return body, nil
	case isOver:
		if over.Limit != limit {
			tooLarge.Detail = fmt.Sprintf("the site limits request bodies to %d bytes, as request_body does", over.Limit)
		}
		dropRest(w, r, true)
		return nil, tooLarge
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, &protocol.Problem{
			Status: http.StatusRequestTimeout, Title: "request timeout",
			Detail: "the body took longer than " + bodyTime.String(), Err: err,
		}
	default:
		// If another handler of the site has refused the body, Err says so.
		return nil, &protocol.Problem{Status: http.StatusBadRequest, Title: "bad request", Detail: "the body is incomplete", Err: err}
	}
}

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
