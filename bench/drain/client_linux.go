package drain

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"
)

// transports are the connections that clients share.
type transports struct {
	publisher *http.Client
	one, two  *http.Client   // HTTP/1.1 and 2
	three     []*http.Client // HTTP/3: a connection carries 100 streams
}

func newTransports(clients int) *transports {
	insecure := func(alpn string) *tls.Config {
		return &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}}
	}
	t := &transports{
		publisher: &http.Client{Transport: &http.Transport{}},
		one:       &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: clients, DisableCompression: true}},
		two:       &http.Client{Transport: &http.Transport{TLSClientConfig: insecure("h2"), ForceAttemptHTTP2: true, DisableCompression: true}},
	}
	for range clients/500 + 1 {
		t.three = append(t.three, &http.Client{Transport: &http3.Transport{TLSClientConfig: insecure("h3"), DisableCompression: true}})
	}
	return t
}

func (t *transports) close() {
	t.one.CloseIdleConnections()
	t.two.CloseIdleConnections()
	for _, c := range t.three {
		if c, ok := c.Transport.(*http3.Transport); ok {
			_ = c.Close()
		}
	}
}

// way is a transport. Those of HTTP/1.1 that leave net/http must not notice a reload.
type way struct {
	name  string
	stays bool
	read  func(c *client, ctx context.Context) error
}

// ways are the transports, as often as their share of the clients is in twentieths.
var ways = func() (all []way) {
	one := func(c *client) (*http.Client, string) { return c.pool.one, c.Plain }
	two := func(c *client) (*http.Client, string) { return c.pool.two, c.TLS }
	three := func(c *client) (*http.Client, string) { return c.pool.three[c.number%len(c.pool.three)], c.TLS }
	for _, w := range []struct {
		times int
		way
	}{
		{6, way{"WebSocket", true, (*client).socket}},
		{2, way{"realtime.v1", true, (*client).session}},
		{3, way{"SSE, HTTP/1.1", true, events(one)}},
		{2, way{"NDJSON, HTTP/1.1", true, lines(one)}},
		{2, way{"polls, HTTP/1.1", false, polls(one)}},
		{2, way{"SSE, HTTP/2", false, events(two)}},
		{1, way{"polls, HTTP/2", false, polls(two)}},
		{1, way{"SSE, HTTP/3", false, events(three)}},
		{1, way{"polls, HTTP/3", false, polls(three)}},
	} {
		for range w.times {
			all = append(all, w.way)
		}
	}
	return all
}()

// client is one reader of one room.
type client struct {
	*run
	way
	number int
	room   int
	seen   int64 // the last number
	cursor string
	open   func() // the connection is there
	told   bool   // it was told to go
	bye    time.Time
}

func newClient(r *run, number int) *client {
	return &client{run: r, way: ways[number%len(ways)], number: number, room: number / len(ways) % r.Rooms}
}

// live reads over one connection after the other, until the server has stopped.
func (c *client) live(ctx context.Context, opened func()) {
	opened = sync.OnceFunc(opened)
	ever := false // connected
	for {
		connected := false
		c.open = func() {
			connected, ever = true, true
			opened()
		}
		c.told = false
		err := c.read(c, ctx)
		stopped := c.stopping.Load()
		switch {
		case ctx.Err() != nil && stopped == 0:
			return
		case errors.Is(err, errBroken):
			c.fail("client %d (%s) after %d: %w", c.number, c.name, c.seen, err)
			return
		case stopped > 0 && (!connected || errors.Is(err, errRefused)):
			c.miss()
			return
		case stopped > 0 && c.told:
			c.leave()
			return
		case stopped > 0:
			c.fail("client %d (%s) was not told to go, but: %w", c.number, c.name, err)
			return
		case c.stays && ever:
			c.fail("client %d (%s) was dropped by a reload: %w", c.number, c.name, err)
			return
		}
		if ever {
			c.moved.Add(1)
		}
		select {
		case <-time.After(200*time.Millisecond + rand.N(800*time.Millisecond)):
		case <-ctx.Done():
		}
	}
}

// leave notes that the client was sent away.
func (c *client) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = append(c.gone, c)
}

// judge checks, after everything, that a client that was sent away has seen all that was acknowledged.
func (c *client) judge(res *Result) {
	bye, last := c.bye.Sub(c.began), c.acked[c.room].Load()
	switch {
	case c.seen >= last:
		res.Byes = append(res.Byes, bye-time.Duration(c.stopping.Load()))
	case !c.stays && bye < time.Duration(c.ackedAt[c.room].Load()):
		res.Away++ // the reload had sent it away before
	default:
		c.fail("client %d (%s) was sent away after %d, although %d was acknowledged", c.number, c.name, c.seen, last)
	}
}

// miss notes that the client was between two connections.
func (c *client) miss() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.away++
}

// goodbye notes that the client was told to go.
func (c *client) goodbye() {
	if !c.told {
		c.told, c.bye = true, time.Now()
	}
}

// errRefused says that a request got no answer: the client was not connected.
var errRefused = errors.New("the request was refused")

// errBroken is wrapped by every breach of the promise.
var errBroken = errors.New("the promise is broken")

// take takes an object.
func (c *client) take(object string) error {
	switch {
	case strings.HasPrefix(object, `{"op":"ready"`), strings.HasPrefix(object, `{"op":"ok"`):
		if c.cursor == "" {
			c.cursor = field(object, `"cursor":"`)
		}
		if c.cursor != "" {
			c.open()
		}
		return nil
	case strings.HasPrefix(object, `{"op":"gap"`):
		return fmt.Errorf("%w: %s", errBroken, object)
	case strings.HasPrefix(object, `{"op":"bye"`):
		c.goodbye()
		return nil
	case strings.HasPrefix(object, `{"op"`):
		return nil
	}
	id, data := field(object, `"id":"`), field(object, `"data":"n`)
	n, err := strconv.ParseInt(data, 10, 64)
	if err != nil || n != c.seen+1 {
		return fmt.Errorf("%w: got %.200s, want %d", errBroken, object, c.seen+1)
	}
	c.seen, c.cursor = n, id
	c.count.Add(1)
	return nil
}

// field returns the string after a key.
func field(object, key string) string {
	_, rest, ok := strings.Cut(object, key)
	if !ok {
		return ""
	}
	value, _, _ := strings.Cut(rest, `"`)
	return value
}

// since is the query with which the client goes on.
func (c *client) since() string {
	if c.cursor == "" {
		return ""
	}
	return "&since=" + c.cursor
}

func (c *client) socket(ctx context.Context) error {
	return c.frames(ctx, fmt.Sprintf("%s/rt/room%d?envelope=1%s", c.Plain, c.room, c.since()), nil, "")
}

func (c *client) session(ctx context.Context) error {
	join := fmt.Sprintf(`{"op":"join","room":"room%d"}`, c.room)
	if c.cursor != "" {
		join = fmt.Sprintf(`{"op":"join","room":"room%d","since":%q}`, c.room, c.cursor)
	}
	return c.frames(ctx, c.Plain+"/rt/", []string{"realtime.v1"}, join)
}

func (c *client) frames(ctx context.Context, url string, subprotocols []string, first string) error {
	conn, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: c.pool.one, Subprotocols: subprotocols})
	if err != nil {
		return err
	}
	if resp.Body != nil {
		defer resp.Body.Close()
	}
	defer conn.CloseNow()
	if first != "" {
		if err := conn.Write(ctx, websocket.MessageText, []byte(first)); err != nil {
			return err
		}
	}
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			if websocket.CloseStatus(err) == websocket.StatusServiceRestart {
				c.goodbye()
			}
			return err
		}
		if err := c.take(string(b)); err != nil {
			return err
		}
	}
}

// over says how a client makes requests.
type over func(*client) (*http.Client, string)

func (c *client) get(ctx context.Context, o over, query, accept string) (*http.Response, error) {
	web, url := o(c)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("%s/rt/room%d?%s%s", url, c.room, query, c.since()), http.NoBody)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", accept)
	resp, err := web.Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errRefused, err)
	}
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		return nil, fmt.Errorf("%w: %s: %s", errRefused, resp.Status, b)
	}
	return resp, nil
}

func events(o over) func(*client, context.Context) error {
	return func(c *client, ctx context.Context) error {
		return c.stream(ctx, o, "envelope=1", "text/event-stream", func(line string, opened bool) error {
			if object, ok := strings.CutPrefix(line, "data: "); ok {
				return c.take(object)
			}
			if opened && strings.HasPrefix(line, "retry: ") {
				c.goodbye()
			}
			return nil
		})
	}
}

func lines(o over) func(*client, context.Context) error {
	return func(c *client, ctx context.Context) error {
		return c.stream(ctx, o, "", "application/x-ndjson", func(line string, _ bool) error {
			if line == "" {
				return nil
			}
			return c.take(line)
		})
	}
}

// stream reads lines. opened says that the opening has come.
func (c *client) stream(ctx context.Context, o over, query, accept string, take func(line string, opened bool) error) error {
	resp, err := c.get(ctx, o, query, accept)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	opened, open := false, c.open
	c.open = func() { opened = true; open() }
	scanner := bufio.NewScanner(resp.Body)
	for scanner.Scan() {
		if err := take(scanner.Text(), opened); err != nil {
			return err
		}
	}
	return errors.Join(io.EOF, scanner.Err())
}

func polls(o over) func(*client, context.Context) error {
	return func(c *client, ctx context.Context) error {
		for {
			began, wait := time.Now(), 30*time.Second
			query := fmt.Sprintf("limit=100&wait=%d", wait/time.Second)
			if c.cursor == "" {
				query = "limit=1"
			}
			resp, err := c.get(ctx, o, query, "application/json")
			if err != nil {
				return err
			}
			b, err := io.ReadAll(resp.Body)
			_ = resp.Body.Close()
			if err != nil {
				return err
			}
			before := c.seen
			if err := c.page(string(b)); err != nil {
				return err
			}
			c.open()
			if c.seen == before && query != "limit=1" && time.Since(began) < wait-time.Second {
				c.goodbye()
				return io.EOF
			}
		}
	}
}

// page takes a page.
func (c *client) page(body string) error {
	if strings.Contains(body, `"gap":`) {
		return fmt.Errorf("%w: %s", errBroken, body)
	}
	head, messages, _ := strings.Cut(body, `"messages":[`)
	for {
		begin := strings.Index(messages, `{"id":`)
		if begin < 0 {
			break
		}
		end := strings.IndexByte(messages[begin:], '}')
		if end < 0 {
			return fmt.Errorf("%w: half a page", errBroken)
		}
		if err := c.take(messages[begin : begin+end]); err != nil {
			return err
		}
		messages = messages[begin+end:]
	}
	c.cursor = field(head, `"cursor":"`)
	return nil
}
