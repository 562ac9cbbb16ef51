package takeaway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// client is one reader of one room.
type client struct {
	*run
	number int
	room   string
	ways   way
	opened bool
	seen   int64 // the last one
	cursor string
}

// way is a transport: it reads until the subscription ends, and returns nil if the server has said
// that the client may not be in the room any more.
type way struct {
	name string
	read func(c *client, ctx context.Context) error
}

var ways = []way{
	{"realtime.v1", (*client).session},
	{"WebSocket", (*client).raw},
	{"SSE", (*client).events},
	{"NDJSON", (*client).lines},
	{"long polling", (*client).polls},
}

// live reads, and notes how that ends.
func (c *client) live(ctx context.Context) {
	err := c.ways.read(c, ctx)
	end := time.Now()
	c.open() // if it never was
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err == nil && c.room == lost:
		c.ends = append(c.ends, end)
	case err == nil:
		c.errs = append(c.errs, fmt.Errorf("client %d (%s) has lost the other room", c.number, c.ways.name))
	case ctx.Err() == nil:
		c.errs = append(c.errs, fmt.Errorf("client %d (%s, %s) after %d: %w", c.number, c.ways.name, c.room, c.seen, err))
	}
}

// open says that the client is there.
func (c *client) open() {
	if !c.opened {
		c.opened = true
		c.ready.Done()
	}
}

// errEnded says that the server has taken the room away.
var errEnded = errors.New("taken away")

// take takes an object: a message with a number, or what ends the subscription.
func (c *client) take(object string) error {
	switch {
	case strings.Contains(object, `"op":"left"`), strings.Contains(object, `"op":"bye"`) && strings.Contains(object, `"status":403`):
		return errEnded
	case strings.Contains(object, `"op":"gap"`):
		return errors.New("a gap: " + object)
	}
	_, data, ok := strings.Cut(object, `"data":"`)
	if !ok {
		return nil
	}
	data, _, _ = strings.Cut(data, `"`)
	return c.count(data)
}

// count takes the data of a message.
func (c *client) count(data string) error {
	number, secret := strings.CutSuffix(data, " secret")
	if secret && c.room == lost {
		return errors.New("a message of the room came after it was taken away: " + data)
	}
	n, err := strconv.ParseInt(number, 10, 64)
	if err != nil || n != c.seen+1 {
		return fmt.Errorf("got %q after %d", data, c.seen)
	}
	c.seen = n
	if c.room == kept {
		c.delivered.Add(1)
	}
	return nil
}

// session joins both rooms, if it is in the room that is lost: it stays connected.
func (c *client) session(ctx context.Context) error {
	conn, err := c.dial(ctx, "", "realtime.v1")
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	join := `{"op":"join","room":"` + c.room + `"}`
	if err := conn.Write(ctx, websocket.MessageText, []byte(join)); err != nil {
		return err
	}
	return c.frames(ctx, conn, func(line string) error {
		if strings.Contains(line, `"op":"ok"`) {
			c.open()
		}
		return c.take(line)
	})
}

// raw gets bare data, and a close code at the end.
func (c *client) raw(ctx context.Context) error {
	conn, err := c.dial(ctx, c.room, "")
	if err != nil {
		return err
	}
	defer conn.CloseNow()
	c.open()
	return c.frames(ctx, conn, c.count)
}

func (c *client) dial(ctx context.Context, target, subprotocol string) (*websocket.Conn, error) {
	o := &websocket.DialOptions{HTTPClient: c.http}
	if subprotocol != "" {
		o.Subprotocols = []string{subprotocol}
	}
	conn, _, err := websocket.Dial(ctx, c.URL+target, o)
	return conn, err
}

// frames reads frames, each with one line or several.
func (c *client) frames(ctx context.Context, conn *websocket.Conn, take func(line string) error) error {
	for {
		_, b, err := conn.Read(ctx)
		if websocket.CloseStatus(err) == 4403 {
			return nil
		}
		if err != nil {
			return err
		}
		for line := range strings.SplitSeq(strings.TrimSpace(string(b)), "\n") {
			if err := take(line); errors.Is(err, errEnded) {
				return nil
			} else if err != nil {
				return err
			}
		}
	}
}

func (c *client) events(ctx context.Context) error {
	return c.stream(ctx, "?envelope=1", "text/event-stream", "data: ")
}

func (c *client) lines(ctx context.Context) error {
	return c.stream(ctx, "", "application/x-ndjson", "")
}

// stream reads lines, and takes those with the prefix.
func (c *client) stream(ctx context.Context, query, accept, prefix string) error {
	resp, err := c.request(ctx, http.MethodGet, c.room+query, "", http.Header{"Accept": {accept}})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	c.open()
	for scanner := bufio.NewScanner(resp.Body); ; {
		if !scanner.Scan() {
			return errors.Join(scanner.Err(), io.ErrUnexpectedEOF)
		}
		line, ok := strings.CutPrefix(scanner.Text(), prefix)
		if !ok || line == "" {
			continue
		}
		if err := c.take(line); errors.Is(err, errEnded) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// polls reads page after page.
func (c *client) polls(ctx context.Context) error {
	for {
		target := c.room + "?wait=20&limit=1000"
		if c.cursor != "" {
			target += "&since=" + c.cursor
		} else {
			target = c.room // where it begins
		}
		resp, err := c.request(ctx, http.MethodGet, target, "", nil)
		if err != nil && ctx.Err() == nil && c.opened {
			continue // the old listener was closed
		}
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		switch {
		case err != nil:
			return err
		case resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusUnauthorized:
			return nil
		case resp.StatusCode != http.StatusOK:
			return fmt.Errorf("%s %s", resp.Status, body)
		}
		if err := c.page(string(body)); err != nil {
			return err
		}
		c.open()
	}
}

// page takes a page. The first one says where the client begins.
func (c *client) page(body string) error {
	_, rest, _ := strings.Cut(body, `"cursor":"`)
	cursor, _, _ := strings.Cut(rest, `"`)
	_, messages, _ := strings.Cut(body, `"messages":[`)
	first := c.cursor == ""
	c.cursor = cursor
	if first {
		return nil
	}
	for {
		_, data, ok := strings.Cut(messages, `"data":"`)
		if !ok {
			return nil
		}
		data, messages, _ = strings.Cut(data, `"`)
		if err := c.count(data); err != nil {
			return err
		}
	}
}
