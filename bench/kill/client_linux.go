package kill

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/coder/websocket"
)

// way is a transport.
type way struct {
	name string
	read func(c *client, ctx context.Context) error // until the connection ends
}

var ways = []way{
	{"WebSocket", (*client).socket},
	{"realtime.v1", (*client).session},
	{"SSE", (*client).events},
	{"NDJSON", (*client).lines},
	{"long-polling", (*client).longPolls},
	{"polling", (*client).polls},
}

// message is one that was delivered, or that a room has.
type message struct {
	offset uint64
	text   string
}

// client is one reader of one room.
type client struct {
	*run
	way
	room   string
	begin  uint64 // what comes after it is due; 0: it was never connected
	cursor string
	newest atomic.Uint64 // the offset of the newest message that came

	got                     map[uint64]string // texts by offset
	connections             int
	received                int
	twice, disordered, gaps int
	heard                   bool // something came on this connection
}

// newClients returns clients on all transports, spread over the rooms.
func (r *run) newClients() (all []*client) {
	for _, w := range ways {
		for i := range r.Clients {
			all = append(all, &client{run: r, way: w, room: r.rooms[i%len(r.rooms)], got: make(map[uint64]string)})
		}
	}
	return all
}

// live reads over one connection after the other, until ctx ends.
func (c *client) live(ctx context.Context) {
	for ctx.Err() == nil {
		c.heard = false
		err := c.read(c, ctx)
		if errors.Is(err, errFormat) {
			c.fault("%s: %v", c.name, err)
		}
		// A page's script waits longer. Then most servers of a run would die before anybody came.
		_ = wait(ctx, 20*time.Millisecond+rand.N(180*time.Millisecond))
	}
}

// errFormat is wrapped by what a server must not send.
var errFormat = errors.New("cannot be read")

// offset returns the offset of an id or cursor of the room's epoch.
func (r *run) offset(cursor string) (uint64, bool) {
	epoch, offset, _ := strings.Cut(cursor, ".")
	n, err := strconv.ParseUint(offset, 10, 64)
	return n, err == nil && epoch == r.epoch
}

// move takes a cursor. The first one is where the client begins.
func (c *client) move(cursor string) {
	offset, ok := c.offset(cursor)
	if !ok {
		c.gaps++
		c.fault("%s: got the cursor %q of another epoch", c.name, cursor)
		return
	}
	if c.begin == 0 {
		c.begin = offset
	}
	c.cursor = cursor
}

// object is an envelope or a control object.
type object struct {
	Op, ID, Data, Cursor, Conn string
	Ref                        int
	Status                     int
}

// take takes an object.
func (c *client) take(text string) error {
	var o object
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), &o); err != nil {
		return fmt.Errorf("%.200s %w: %w", text, errFormat, err)
	}
	if !c.heard {
		c.heard = true
		c.connections++
	}
	switch o.Op {
	case "":
		return c.deliver(o.ID, o.Data)
	case "gap":
		c.gap(text)
	case "ready", "ok":
		if c.cursor == "" && o.Cursor != "" {
			c.move(o.Cursor)
		}
	}
	return nil
}

func (c *client) gap(text string) {
	c.gaps++
	c.fault("%s: after %s came %s", c.name, c.cursor, text)
}

// deliver takes a message.
func (c *client) deliver(id, text string) error {
	offset, ok := c.offset(id)
	if !ok {
		return fmt.Errorf("the id %q %w", id, errFormat)
	}
	c.saw(id, text)
	c.received++
	if _, known := c.got[offset]; known {
		c.twice++
		c.fault("%s: %s came twice", c.name, id)
		return nil
	}
	c.got[offset] = text
	if offset < c.newest.Load() {
		c.disordered++
		c.fault("%s: %s came after %d", c.name, id, c.newest.Load())
		return nil
	}
	c.newest.Store(offset)
	c.move(id)
	return nil
}

// request makes a request for what path, query and headers say.
func (r *run) request(ctx context.Context, method, path string, body io.Reader, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.URL+path, body)
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return r.http.Do(req)
}

// since is the query with which the client goes on.
func (c *client) since() string {
	if c.cursor == "" {
		return ""
	}
	return "&since=" + url.QueryEscape(c.cursor)
}

func (c *client) socket(ctx context.Context) error {
	return c.frames(ctx, c.URL+"/"+c.room+"?envelope=1"+c.since(), nil, "")
}

func (c *client) session(ctx context.Context) error {
	join := fmt.Sprintf(`{"op":"join","ref":1,"room":%q}`, c.room)
	if c.cursor != "" {
		join = fmt.Sprintf(`{"op":"join","ref":1,"room":%q,"since":%q}`, c.room, c.cursor)
	}
	return c.frames(ctx, c.URL+"/", []string{"realtime.v1"}, join)
}

func (c *client) frames(ctx context.Context, url string, subprotocols []string, first string) error {
	conn, _, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c.http, Subprotocols: subprotocols})
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	conn.SetReadLimit(-1)
	if first != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(first)); err != nil {
			return err
		}
	}
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(string(b), "\n") {
			if err := c.take(line); err != nil {
				return err
			}
		}
	}
}

func (c *client) events(ctx context.Context) error {
	return c.stream(ctx, "?envelope=1", "text/event-stream", "data: ")
}

func (c *client) lines(ctx context.Context) error {
	return c.stream(ctx, "", "application/x-ndjson", "{")
}

// stream reads lines, and takes those with the prefix. What is behind the last end of a line is not whole: it
// was being written when the server died.
func (c *client) stream(ctx context.Context, query, accept, prefix string) error {
	headers := []string{"Accept", accept}
	if c.cursor != "" {
		headers = append(headers, "Last-Event-ID", c.cursor)
	}
	resp, err := c.request(ctx, http.MethodGet, "/"+c.room+query, nil, headers...)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	for lines := bufio.NewReader(resp.Body); ; {
		line, err := lines.ReadString('\n')
		if err != nil {
			return err
		}
		line = strings.TrimRight(line, "\r\n")
		if !strings.HasPrefix(line, prefix) {
			continue
		}
		if err := c.take(strings.TrimPrefix(line, "data: ")); err != nil {
			return err
		}
	}
}

func (c *client) longPolls(ctx context.Context) error { return c.pages(ctx, "&wait=20", 0) }

func (c *client) polls(ctx context.Context) error { return c.pages(ctx, "", 50*time.Millisecond) }

// pages reads page after page, with such a pause where there are no more.
func (c *client) pages(ctx context.Context, query string, pause time.Duration) error {
	for {
		begins := c.cursor == ""
		if begins {
			query = ""
		}
		p, err := c.page(ctx, c.room, "?limit=100"+query+c.since())
		if err != nil {
			return err
		}
		if !c.heard {
			c.heard = true
			c.connections++
		}
		if p.Gap != nil {
			c.gap(string(p.Gap))
		}
		for _, m := range p.Messages {
			if begins {
				break // they are older than the client
			}
			if err := c.deliver(m.ID, m.Data); err != nil {
				return err
			}
		}
		c.move(p.Cursor)
		if begins {
			return nil // the next one knows where to begin
		}
		if !p.More && pause > 0 {
			if err := wait(ctx, pause); err != nil {
				return err
			}
		}
	}
}

// page is a page of a room.
type page struct {
	Cursor   string
	Gap      json.RawMessage
	Messages []object
	More     bool
}

// page reads one.
func (r *run) page(ctx context.Context, room, query string) (p page, err error) {
	resp, err := r.request(ctx, http.MethodGet, "/"+room+query, nil)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return p, err
	}
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("%s: %s", resp.Status, b)
	}
	if err := json.Unmarshal(b, &p); err != nil {
		return p, fmt.Errorf("a page %w: %w", errFormat, err)
	}
	return p, nil
}
