package caddytest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// Headers that tests of several packages send, as Do takes them.
const (
	// Browser is what a browser that navigates accepts.
	Browser = "Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
	// NDJSON is the type of commands by POST.
	NDJSON = "Content-Type: application/x-ndjson"
	// Session asks for the subprotocol realtime.v1, by Dial too.
	Session = "Sec-WebSocket-Protocol: realtime.v1"
)

// Client follows no redirect and keeps no connection.
var Client = &http.Client{
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// Do sends a request with headers given as "Name: value".
func (s *Site) Do(method, target, body string, headers ...string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), s.Within)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, method, s.URL+target, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
		}
		req.Header.Add(name, value)
	}
	resp, err := Client.Do(req)
	for range 3 {
		if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, io.EOF) {
			break
		}
		// During a reload a connection may wait at the old listener.
		req.Body = io.NopCloser(strings.NewReader(body))
		resp, err = Client.Do(req)
	}
	if err != nil {
		s.t.Fatalf("%s %s: %v", method, target, err)
	}
	s.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// Post publishes in a room and returns the message's id.
func (s *Site) Post(room, body string, headers ...string) string {
	s.t.Helper()
	resp := s.Do("POST", "/rt/"+room, body, headers...)
	if resp.StatusCode != http.StatusCreated {
		s.t.Fatalf("POST %s: %s %s", room, resp.Status, ReadAll(s.t, resp))
	}
	var receipt struct{ ID, At string }
	Decode(s.t, ReadAll(s.t, resp), &receipt)
	return receipt.ID
}

// Page is a poll's answer.
type Page struct {
	Room, Cursor, Conn string
	Messages           []Envelope
	More               bool
	Gap                *Envelope
	Presence           []Envelope
	PresenceCursor     string `json:"presence_cursor"`
}

// Envelope is a message or a control object.
type Envelope struct {
	ID, Room, Event, At, Key    string
	Op, From0, To, Reason, Conn string
	Cursor                      string
	Status                      int
	Title, Detail               string
	Data                        json.RawMessage
	From                        json.RawMessage
}

// Text returns the data as a string.
func (e Envelope) Text() string {
	var s string
	if json.Unmarshal(e.Data, &s) != nil {
		return string(e.Data)
	}
	return s
}

// Page polls a room.
func (s *Site) Page(target string, headers ...string) Page {
	s.t.Helper()
	resp := s.Do("GET", "/rt/"+target, "", headers...)
	body := ReadAll(s.t, resp)
	if resp.StatusCode != http.StatusOK {
		s.t.Fatalf("GET %s: %s %s", target, resp.Status, body)
	}
	var p Page
	Decode(s.t, body, &p)
	return p
}

// Texts returns the texts of the page's messages.
func (p Page) Texts() []string {
	texts := []string{}
	for _, m := range p.Messages {
		texts = append(texts, m.Text())
	}
	return texts
}

// Commands posts commands and returns the answers.
func (s *Site) Commands(query string, lines ...string) (answers []Envelope) {
	s.t.Helper()
	resp := s.Do("POST", "/rt/"+query, strings.Join(lines, "\n"), NDJSON)
	body := ReadAll(s.t, resp)
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "application/x-ndjson" {
		s.t.Fatalf("%s %s", resp.Status, body)
	}
	for line := range strings.SplitSeq(strings.TrimSpace(body), "\n") {
		var e Envelope
		Decode(s.t, line, &e)
		answers = append(answers, e)
	}
	return answers
}

// Problem is a problem document.
type Problem struct {
	Type, Title, Detail string
	Status              int
	RetryMS             int `json:"retry_ms"`
}

// Refused checks a refusal's status and that its document names the reason.
func Refused(t *testing.T, resp *http.Response, status int, names string) Problem {
	t.Helper()
	body := ReadAll(t, resp)
	var p Problem
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" {
		t.Errorf("got %s, %s, %q, want %d", resp.Status, resp.Header.Get("Content-Type"), body, status)
		return p
	}
	Decode(t, body, &p)
	if p.Status != status || !strings.Contains(p.Title+" "+p.Detail, names) {
		t.Errorf("got %+v, want status %d and %q", p, status, names)
	}
	return p
}

// ReadAll returns the body of a response.
func ReadAll(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// Decode parses JSON.
func Decode(t *testing.T, body string, to any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), to); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
}
