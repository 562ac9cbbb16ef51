package reload

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// administer asks the admin API, and returns the answer.
func administer(t *testing.T, s *caddytest.Site, method, target, body string) string {
	t.Helper()
	admin := s.By(s.Port)
	admin.URL = "http://" + s.Admin
	resp := admin.Do(method, target, body)
	answer := caddytest.ReadAll(t, resp)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, target, resp.Status, answer)
	}
	return answer
}

// gone waits until no hub is there any more.
func gone(t *testing.T, s *caddytest.Site) {
	t.Helper()
	caddytest.Eventually(t, "the end of the hubs", func() bool {
		return strings.TrimSpace(administer(t, s, "GET", "/realtime/hubs", "")) == `{"hubs":[]}`
	})
}

// A hub moves from memory to a file with its messages, and cursors are good there: a client that comes back gets what it has
// not seen, and a gap behind that.
func TestFromMemoryToAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rooms.db")
	s := caddytest.StartAdministered(t, engineBlock("memory"))
	seen := s.Post("lobby", "one")
	s.Post("lobby", "two")
	s.Post("other", "three")
	was := s.Page("lobby?last=9")
	export := administer(t, s, "GET", "/realtime/export", "")
	s.Reload(engineBlock("bolt " + file))
	c := s.Dial("lobby?envelope=1&since=" + seen)
	caddytest.Hear(t, c, `"op":"gap"`, `"reason":"epoch"`) // it has come too early
	if answer := administer(t, s, "POST", "/realtime/import", export); strings.TrimSpace(answer) != `{"kept":3,"anew":0,"known":0,"expired":0}` {
		t.Errorf("imported %s", answer)
	}
	for _, text := range []string{"one", "two"} {
		if got := caddytest.Hear(t, c, `"data"`); !strings.Contains(got, text) {
			t.Errorf("who is there gets %s, want %s", got, text)
		}
	}
	if is := s.Page("lobby?last=9"); len(is.Messages) != 2 || is.Messages[0].ID != was.Messages[0].ID || is.Messages[1].At != was.Messages[1].At {
		t.Errorf("the room has %+v, and had %+v", is.Messages, was.Messages)
	}
	if p := s.Page("lobby?since=" + seen); !slices.Equal(p.Texts(), []string{"two"}) || p.Gap != nil || !p.More {
		t.Errorf("after a cursor: %+v", p)
	} else if p = s.Page("lobby?since=" + p.Cursor); p.Gap == nil || p.Gap.Reason != "epoch" || len(p.Messages) > 0 {
		t.Errorf("behind that: %+v", p)
	}
	s.Post("lobby", "four")
	if got := caddytest.Hear(t, c, `"data"`); !strings.Contains(got, "four") {
		t.Errorf("who is there gets %s", got)
	}
	s.Reload("respond x")
	gone(t, s)
	s.Reload(engineBlock("bolt " + file))
	if texts := s.Page("lobby?last=9").Texts(); !slices.Equal(texts, []string{"one", "two", "four"}) {
		t.Errorf("after a restart the room has %q", texts)
	}
	s.Reload("respond x")
	gone(t, s)
}

// A backup that is put in place of the file has everything that was published before, and each room one gap.
func TestRestore(t *testing.T) {
	file := filepath.Join(t.TempDir(), "rooms.db")
	s := caddytest.StartAdministered(t, engineBlock("bolt "+file))
	first := s.Post("lobby", "one")
	s.Post("lobby", "two")
	backup := administer(t, s, "GET", "/realtime/backup", "")
	last := s.Post("lobby", "three")
	s.Reload("respond x")
	gone(t, s)
	if err := os.WriteFile(file, []byte(backup), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Reload(engineBlock("bolt " + file))
	s.Post("lobby", "four")
	for cursor, want := range map[string][]string{first: {"two", "gap epoch", "four"}, last: {"gap epoch", "four"}} {
		var got []string
		for more := true; more; {
			p := s.Page("lobby?since=" + cursor)
			if p.Gap != nil {
				got = append(got, "gap "+p.Gap.Reason)
			}
			got = append(got, p.Texts()...)
			cursor, more = p.Cursor, p.More
		}
		if !slices.Equal(got, want) {
			t.Errorf("a client gets %q, want %q", got, want)
		}
	}
	s.Reload("respond x")
	gone(t, s)
}

// Requests of operators that would take for ever don't keep Caddy from ending: it would count them as a failure.
func TestStopBesideOperators(t *testing.T) {
	s, admin := caddytest.New(t), caddytest.FreePort(t)
	block := engineBlock("bolt "+filepath.Join(t.TempDir(), "rooms.db"), "drain 30s")
	p := caddytest.StartProgram(t, strings.Replace(site(s, "", block), "admin off", fmt.Sprintf("admin 127.0.0.1:%d", admin), 1), s)
	text := strings.Repeat("x", 60_000)
	for range 100 { // more than what waits in buffers
		s.Post("lobby", text)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/realtime/", admin)
	body, hold := io.Pipe()
	defer hold.Close()
	answered := make(chan string, 1)
	go func() {
		resp, err := caddytest.Client.Post(url+"import", "application/x-ndjson", body)
		if err != nil {
			answered <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answered <- resp.Status + " " + string(b)
	}()
	if _, err := hold.Write([]byte("\n")); err != nil {
		t.Fatal(err)
	}
	export, err := caddytest.Client.Get(url + "export")
	if err != nil {
		t.Fatal(err)
	}
	defer export.Body.Close()
	p.Terminate()
	if answer := <-answered; !strings.HasPrefix(answer, "503 ") || !strings.Contains(answer, "the process exits") {
		t.Errorf("the import is answered with %s", answer)
	}
	p.Exits(8 * time.Second)
	if _, err := io.Copy(io.Discard, export.Body); err == nil {
		t.Error("the export counts as whole")
	}
}
