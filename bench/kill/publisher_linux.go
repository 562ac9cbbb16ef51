package kill

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// kind is how a publisher publishes.
type kind struct {
	name string
	key  bool // with idempotency keys; a message whose answer was cut off is sent again
	send func(p *publisher, ctx context.Context, room, text string) (id string, err error)
}

var kinds = []kind{
	{"POST with keys", true, (*publisher).post},
	{"POST", false, (*publisher).post},
	{"WebSocket with keys", true, (*publisher).command},
	{"WebSocket", false, (*publisher).command},
}

// publisher publishes one message after the other, each in some room.
type publisher struct {
	*run
	kind
	number int

	sent, acknowledged, repeated int

	// Of a WebSocket.
	socket *websocket.Conn
	conn   string // its name, which it keeps
	owner  string // the name under which the message was sent first
	ref    int
}

// newPublishers returns publishers of all kinds.
func (r *run) newPublishers() (all []*publisher) {
	for _, k := range kinds {
		for range r.Publishers {
			all = append(all, &publisher{run: r, kind: k, number: len(all)})
		}
	}
	return all
}

// live publishes until nothing new is to be published. A message with a key is sent until it is acknowledged.
func (p *publisher) live(ctx context.Context) {
	defer p.hangUp()
	for ctx.Err() == nil {
		select {
		case <-p.quit:
			return
		case <-time.After(p.Every/2 + rand.N(p.Every)):
		}
		p.sent++
		text := fmt.Sprintf("%d-%d", p.number, p.sent)
		room := p.rooms[rand.IntN(len(p.rooms))]
		p.owner = ""
		id, err := p.send(p, ctx, room, text)
		for p.key && err != nil && ctx.Err() == nil {
			_ = wait(ctx, 20*time.Millisecond+rand.N(80*time.Millisecond))
			p.repeated++
			id, err = p.send(p, ctx, room, text)
		}
		if err != nil {
			_ = wait(ctx, 20*time.Millisecond+rand.N(80*time.Millisecond))
			continue
		}
		p.acknowledged++
		p.acknowledge(id, publication{room, text})
	}
}

// acknowledge notes a receipt.
func (r *run) acknowledge(id string, what publication) {
	r.saw(id, what.text)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.acked[id] = what
}

// post publishes by POST. Keys belong to the address.
func (p *publisher) post(ctx context.Context, room, text string) (string, error) {
	headers := []string{"Content-Type", "text/plain"}
	if p.key {
		headers = append(headers, "Idempotency-Key", text)
	}
	resp, err := p.request(ctx, http.MethodPost, "/"+room, strings.NewReader(text), headers...)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusCreated && resp.StatusCode != http.StatusOK {
		return "", p.refused(resp.StatusCode)
	}
	var receipt object
	if err := json.NewDecoder(resp.Body).Decode(&receipt); err != nil {
		return "", err
	}
	return receipt.ID, nil
}

// refused returns the error for a refusal. But for those of a server that begins or ends none is expected.
func (p *publisher) refused(status int) error {
	if status < http.StatusInternalServerError {
		p.fault("%s: refused with %d", p.name, status)
	}
	return fmt.Errorf("refused with %d", status)
}

// command publishes by a command on a WebSocket, whose name a key belongs to.
func (p *publisher) command(ctx context.Context, room, text string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if p.socket == nil {
		if err := p.dial(ctx); err != nil {
			return "", err
		}
	}
	if p.owner == "" {
		p.owner = p.conn
	}
	p.ref++
	command := map[string]any{"op": "publish", "ref": p.ref, "room": room, "data": text}
	if p.key {
		command["key"], command["conn"] = text, p.owner
	}
	b, err := json.Marshal(command)
	if err == nil {
		err = p.socket.Write(ctx, websocket.MessageText, b)
	}
	answer := object{}
	if err == nil {
		answer, err = p.answer(ctx)
	}
	if err != nil {
		p.hangUp()
		return "", err
	}
	if answer.Op != "ok" {
		return "", p.refused(answer.Status)
	}
	return answer.ID, nil
}

// dial connects the WebSocket, under the name that it had.
func (p *publisher) dial(ctx context.Context) (err error) {
	p.socket, _, err = websocket.Dial(ctx, p.URL+"/?conn="+url.QueryEscape(p.conn), &websocket.DialOptions{HTTPClient: p.http, Subprotocols: []string{"realtime.v1"}})
	if err != nil {
		p.socket = nil
		return err
	}
	p.ref = 0
	ready, err := p.answer(ctx)
	if err != nil {
		p.hangUp()
		return err
	}
	p.conn = ready.Conn
	return nil
}

// answer reads the next object. As the client is in no room, that is ready, or the answer to a command.
func (p *publisher) answer(ctx context.Context) (o object, err error) {
	_, b, err := p.socket.Read(ctx)
	if err != nil {
		return o, err
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("%.200s %w: %w", b, errFormat, err)
	}
	if o.Ref != p.ref {
		return o, errors.New("the answer is to another command")
	}
	return o, nil
}

func (p *publisher) hangUp() {
	if p.socket != nil {
		_ = p.socket.CloseNow()
		p.socket = nil
	}
}
