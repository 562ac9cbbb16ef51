package realtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// threeHubs is a site with a hub in memory and two in files.
func threeHubs(t *testing.T) *caddytest.Site {
	t.Helper()
	folder := t.TempDir()
	t.Cleanup(func() { // after the stop, and before the files go
		caddytest.Eventually(t, "the end of the hubs", func() bool { return len(lookAtHubs().Hubs) == 0 })
	})
	var block strings.Builder
	for name, engine := range map[string]string{"memory": "memory", "one": "bolt " + filepath.Join(folder, "1.db"), "two": "bolt " + filepath.Join(folder, "2.db")} {
		fmt.Fprintf(&block, "realtime /%s/* {\n%shub %s\nengine %s\nroom small {\nmax_message_size 1000\n}\n}\n", name, caddytest.Open, name, engine)
	}
	return caddytest.StartAdministered(t, block.String())
}

// filled publishes messages of all kinds in rooms of a hub, and returns the rooms.
func filled(t *testing.T, s *caddytest.Site, hubName string) []string {
	t.Helper()
	rooms := []string{"a", "board/1", "board/2", "small"}
	for i := range 60 {
		target := "/" + hubName + "/" + rooms[i%4]
		for _, headers := range [][]string{
			nil,
			{"Content-Type: application/json", "Realtime-Event: order", "Idempotency-Key: k" + fmt.Sprint(i)},
			{"Content-Type: image/png"},
			{"TTL: 3600"},
			{"Content-Type: text/markdown"},
		} {
			if resp := s.Do("POST", target, fmt.Sprint(i), headers...); resp.StatusCode != http.StatusCreated {
				t.Fatal(resp.Status)
			}
		}
	}
	return rooms
}

// pageOf returns the messages of a page as they come.
func pageOf(t *testing.T, s *caddytest.Site, target string) (messages []string, gap string) {
	t.Helper()
	var p struct {
		Messages []json.RawMessage
		Gap      *struct{ Reason string }
	}
	caddytest.Decode(t, caddytest.ReadAll(t, s.Do("GET", target, "")), &p)
	for _, m := range p.Messages {
		messages = append(messages, string(m))
	}
	if p.Gap != nil {
		gap = p.Gap.Reason
	}
	return messages, gap
}

// What is exported from any engine and imported into an empty file is the same: pages, ids and cursors.
func TestImportCommand(t *testing.T) {
	s := threeHubs(t)
	rooms := filled(t, s, "memory")
	const from, to = "memory", "one"
	file := filepath.Join(t.TempDir(), from+".ndjson")
	moved := func(from, to, want string) {
		t.Helper()
		if out, err := runCommand(exportCommand(), "--hub", from, "--address", s.Admin, "--output", file+from); err != nil {
			t.Fatal(out, err)
		}
		out, err := runCommand(importCommand(), file+from, "--hub", to, "--address", s.Admin)
		if err != nil || out != want {
			t.Fatalf("%s %v, want %s", out, err, want)
		}
	}
	moved(from, to, "kept     300\nanew     0\nknown    0\nexpired  0\n")
	moved(to, "two", "kept     300\nanew     0\nknown    0\nexpired  0\n")
	if contentOf(t, file+from) != contentOf(t, file+to) {
		t.Error("the exports differ")
	}
	for _, room := range rooms {
		was, _ := pageOf(t, s, "/memory/"+room+"?last=100")
		for _, hubName := range []string{to, "two"} {
			if is, gap := pageOf(t, s, "/"+hubName+"/"+room+"?last=100"); len(is) != 75 || !slices.Equal(is, was) || gap != "" {
				t.Errorf("%s of %s: %d messages, want the same %d; gap %q", room, hubName, len(is), len(was), gap)
			}
		}
		var middle struct{ ID string }
		caddytest.Decode(t, was[30], &middle)
		if is, gap := pageOf(t, s, "/two/"+room+"?limit=200&since="+middle.ID); !slices.Equal(is, was[31:]) || gap != "" {
			t.Errorf("%s since the middle: %d messages, gap %q", room, len(is), gap)
		}
	}
	out, err := runCommand(importCommand(), file+from, "--hub", to, "--address", s.Admin)
	if want := "kept     0\nanew     0\nknown    300\nexpired  0\n"; err != nil || out != want {
		t.Errorf("again: %s %v", out, err)
	}
}

// Into memory, or a room with messages, they are published anew, once.
func TestImportAnew(t *testing.T) {
	s := threeHubs(t)
	line := func(n int) string {
		return fmt.Sprintf(`{"id":"x.%d","room":"a","data":"%d","from":{"id":"ann"},"at":"%s","epoch":"x"}`, n, n, time.Now().UTC().Format(time.RFC3339)) + "\n"
	}
	lines := line(1) + "\n" + line(2) + line(3)
	s.Do("POST", "/two/a", "0")
	for _, hubName := range []string{"memory", "two"} {
		cmd := func(text string) (string, error) {
			c := importCommand()
			c.SetIn(strings.NewReader(text))
			return runCommand(c, "--hub", hubName, "--address", s.Admin)
		}
		for i, want := range []string{"kept     0\nanew     3\nknown    0\nexpired  0\n", "kept     0\nanew     0\nknown    3\nexpired  0\n"} {
			if out, err := cmd(lines); err != nil || out != want {
				t.Errorf("%s, time %d: %s %v", hubName, i, out, err)
			}
		}
		got, _ := pageOf(t, s, "/"+hubName+"/a?last=9")
		if len(got) < 3 || !strings.Contains(got[len(got)-1], `"data":"3","from":{"id":"ann"}`) {
			t.Errorf("%s has %s", hubName, got)
		}
		for text, want := range map[string]string{
			line(4) + `{"id":1}`:                         "line 2: it is not a message in JSON",
			line(5) + "\n\n" + line(6) + "x\n" + line(7): "line 5: it is not a message in JSON: invalid character 'x'",
			`{"id":"x.8","room":"small","data":"` + strings.Repeat("x", 1001) + `","at":"2026-11-21T07:00:00Z"}` + "\n": "line 1: the message has 1001 bytes, and max_message_size of room",
			line(9) + strings.Repeat("x", 1<<20):          "line 2: it is longer than any message",
			strings.Replace(line(1), `"1"`, `"other"`, 1): "line 1: the idempotency key was used",
		} {
			out, err := cmd(text + strings.Repeat(line(1), 5000))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "before that") {
				t.Errorf("%.80s: %s %v, want an error with %s", text, out, err, want)
			}
		}
		after, _ := pageOf(t, s, "/"+hubName+"/a?last=99")
		if n := len(after) - len(got); n != 4 {
			t.Errorf("%d messages came of lines before those that are wrong, want 4: %s", n, after)
		}
	}
}

func TestImportsThatAreRefused(t *testing.T) {
	threeHubs(t)
	for target, want := range map[string]int{"?hub=memory": 200, "?hub=x": 404} {
		if answer, status, err := administer("POST", "/realtime/import"+target, ""); status != want {
			t.Errorf("%s: %d %s %v", target, status, answer, err)
		}
	}
	if _, status, _ := administer("GET", "/realtime/import?hub=memory", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", status)
	}
}

// A client that goes away leaves nothing behind but what it has sent. An import whose hub ends has an answer.
func TestImportsThatEnd(t *testing.T) {
	s := threeHubs(t)
	r, w := io.Pipe()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Admin+"/realtime/import?hub=one", r)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := caddytest.Client.Do(req)
		ended <- err
	}()
	for range 100 {
		_, _ = io.WriteString(w, strings.Repeat("\n", 1000))
	}
	caddytest.Eventually(t, "the import to begin", func() bool { return operations.Load() == 1 })
	_ = w.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-ended; err == nil {
		t.Error("an answer to half of a request")
	}
	caddytest.Eventually(t, "its end", func() bool { return operations.Load() == 0 })
	r, w = io.Pipe()
	if req, err = http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Admin+"/realtime/import?hub=one", r); err != nil {
		t.Fatal(err)
	}
	go func() {
		resp, err := caddytest.Client.Do(req)
		if err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusServiceUnavailable {
				err = fmt.Errorf("the answer is %s", resp.Status)
			}
		}
		ended <- err
	}()
	_, _ = io.WriteString(w, "\n")
	caddytest.Eventually(t, "the import to begin", func() bool { return operations.Load() == 1 })
	p, err := findHub("one")
	if err != nil {
		t.Fatal(err)
	}
	s.Reload("respond x")
	<-p.ended
	if err := <-ended; err != nil {
		t.Error(err)
	}
	_ = w.Close()
}
