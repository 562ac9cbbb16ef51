package load

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// PollOptions says how to poll a room of this module. All must be set.
type PollOptions struct {
	Port    int
	Path    string // of the room
	Clients int
	Wait    bool          // long-polls; else polls that find nothing
	Length  time.Duration // of the whole
	Every   time.Duration // between two messages, for long polls
}

// Polled is what polling came to.
type Polled struct {
	Requests, Messages int64
	Took               time.Duration
}

// pollSize is the size of a message in bytes.
const pollSize = 128

// Poll has clients poll a room, each on a connection of its own, while messages
// are published if they wait. It checks that each client sees each message once
// and in order.
func Poll(ctx context.Context, o PollOptions) (Polled, error) {
	ctx, cancel := context.WithTimeout(ctx, o.Length)
	defer cancel()
	var requests, messages atomic.Int64
	publisher, err := newPoller(o)
	if err != nil {
		return Polled{}, err
	}
	defer publisher.conn.Close()
	if err := publisher.publish(1); err != nil {
		return Polled{}, err
	}
	page, err := publisher.page("?last=1")
	if err != nil {
		return Polled{}, err
	}
	var work sync.WaitGroup
	errs := make([]error, o.Clients+1)
	begin := time.Now()
	for i := range o.Clients {
		work.Go(func() {
			p, err := newPoller(o)
			if err != nil {
				errs[i] = err
				return
			}
			defer p.conn.Close()
			stop := context.AfterFunc(ctx, func() { p.conn.SetDeadline(time.Unix(1, 0)) })
			defer stop()
			p.cursor, p.due = page.Cursor, 2
			for ctx.Err() == nil {
				n, err := p.poll()
				if err != nil {
					if ctx.Err() == nil {
						errs[i] = fmt.Errorf("poller %d: %w", i, err)
					}
					return
				}
				requests.Add(1)
				messages.Add(int64(n))
			}
		})
	}
	if o.Wait {
		work.Go(func() { errs[o.Clients] = publisher.publishOn(ctx, 2) })
	}
	work.Wait()
	return Polled{Requests: requests.Load(), Messages: messages.Load(), Took: time.Since(begin)}, errors.Join(errs...)
}

// poller is one client that polls.
type poller struct {
	PollOptions
	conn   net.Conn
	r      *bufio.Reader
	cursor string
	due    uint64 // number of the next message
}

func newPoller(o PollOptions) (*poller, error) {
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(o.Port))
	if err != nil {
		return nil, err
	}
	return &poller{PollOptions: o, conn: c, r: bufio.NewReader(c)}, nil
}

// publishOn publishes messages regularly, the first of them with the number n, until the
// context ends.
func (p *poller) publishOn(ctx context.Context, n uint64) error {
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	for ; ; n++ {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := p.publish(n); err != nil {
			return err
		}
	}
}

// pollPage is what is read of a page.
type pollPage struct {
	Cursor   string
	Gap      json.RawMessage
	Messages []struct{ Data string }
}

// request sends a request and returns the status and the body of its answer.
func (p *poller) request(method, query, header, body string) (int, []byte, error) {
	if body != "" {
		header += "Content-Length: " + strconv.Itoa(len(body)) + "\r\n"
	}
	if _, err := io.WriteString(p.conn, method+" "+p.Path+query+" HTTP/1.1\r\nHost: localhost\r\n"+header+"\r\n"+body); err != nil {
		return 0, nil, err
	}
	resp, err := http.ReadResponse(p.r, &http.Request{Method: method})
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func (p *poller) publish(n uint64) error {
	status, b, err := p.request("POST", "", "Content-Type: text/plain\r\n", string(AppendMessage(nil, n, 0, pollSize)))
	if err == nil && status != http.StatusCreated {
		err = fmt.Errorf("publishing: the answer is %d: %.200s", status, b)
	}
	return err
}

func (p *poller) page(query string) (*pollPage, error) {
	status, b, err := p.request("GET", query, "", "")
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK {
		return nil, fmt.Errorf("the answer is %d: %.200s", status, b)
	}
	var page pollPage
	if err := json.Unmarshal(b, &page); err != nil {
		return nil, err
	}
	return &page, nil
}

// poll polls once, and returns how many messages came.
func (p *poller) poll() (int, error) {
	if !p.Wait {
		status, b, err := p.request("GET", "", "If-None-Match: \""+p.cursor+"\"\r\n", "")
		if err == nil && status != http.StatusNotModified {
			err = fmt.Errorf("the answer is %d: %.200s", status, b)
		}
		return 0, err
	}
	page, err := p.page("?wait=25&since=" + p.cursor)
	if err != nil {
		return 0, err
	}
	if len(page.Gap) > 0 {
		return 0, fmt.Errorf("%w: a gap: %s", ErrLost, page.Gap)
	}
	for _, m := range page.Messages {
		number, _, err := parseMessage([]byte(strings.TrimSpace(m.Data)))
		if err != nil {
			return 0, err
		}
		if err := checkNumber(p.due, number); err != nil {
			return 0, err
		}
		p.due = number + 1
	}
	p.cursor = page.Cursor
	return len(page.Messages), nil
}
