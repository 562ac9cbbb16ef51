package soak

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"
)

func (c *client) webSocket(ctx context.Context) error {
	conn, _, err := websocket.Dial(ctx, c.URL+"?envelope=1&since="+c.cursor, &websocket.DialOptions{HTTPClient: c.http})
	if err != nil {
		return err
	}
	// Without a closing handshake: that is what a cut is.
	defer conn.CloseNow()
	for {
		_, b, err := conn.Read(ctx)
		if err != nil {
			return err
		}
		if err := c.message(string(b)); err != nil {
			return err
		}
	}
}

func (c *client) events(ctx context.Context) error {
	return c.stream(ctx, "?envelope=1", "text/event-stream", "data: ")
}

func (c *client) ndjson(ctx context.Context) error {
	return c.stream(ctx, "", "application/x-ndjson", "")
}

// stream reads lines, and takes those with the prefix.
func (c *client) stream(ctx context.Context, query, accept, prefix string) error {
	resp, err := c.request(ctx, http.MethodGet, query, nil, "Accept", accept, "Last-Event-ID", c.cursor)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", accept, resp.Status)
	}
	for scanner := bufio.NewScanner(resp.Body); ; {
		if !scanner.Scan() {
			if err := scanner.Err(); err != nil {
				return err
			}
			return io.EOF
		}
		line, ok := strings.CutPrefix(scanner.Text(), prefix)
		if !ok || line == "" {
			continue
		}
		if err := c.message(line); err != nil {
			return err
		}
	}
}

func (c *client) longPoll(ctx context.Context) error { return c.pages(ctx, "&wait=20") }

func (c *client) poll(ctx context.Context) error { return c.pages(ctx, "") }

// pages reads page after page until the connection is to be cut.
func (c *client) pages(ctx context.Context, query string) error {
	for {
		resp, err := c.request(ctx, http.MethodGet, "?limit=200&since="+c.cursor+query, nil)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("page: %s %s", resp.Status, body)
		}
		if err := c.page(string(body)); err != nil {
			return err
		}
		if query != "" {
			continue
		}
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// page takes the messages of a page. A client that is cut in the middle of a page goes
// on after the last message that it has taken.
func (c *client) page(body string) error {
	if strings.Contains(body, `"gap":`) {
		return fmt.Errorf("%w: %s", errBroken, body)
	}
	_, messages, _ := strings.Cut(body, `"messages":[`)
	for {
		begin := strings.Index(messages, `{"id":`)
		if begin < 0 {
			return nil
		}
		end := strings.IndexByte(messages[begin:], '}')
		if end < 0 {
			return errors.New("half a page")
		}
		if err := c.message(messages[begin : begin+end]); err != nil {
			return err
		}
		messages = messages[begin+end:]
	}
}
