package realtime

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

// exportedTexts returns the rooms and texts of the lines of an export.
func exportedTexts(t *testing.T, lines string) (texts []string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		var m struct{ Room, Data, ID, Epoch, At string }
		if err := json.Unmarshal([]byte(line), &m); err != nil || m.ID == "" || m.At == "" || !strings.HasPrefix(m.ID, m.Epoch+".") {
			t.Fatalf("%q: %v", line, err)
		}
		texts = append(texts, m.Room+" "+m.Data)
	}
	return texts
}

func TestExportCommand(t *testing.T) {
	s := caddytest.StartAdministered(t, "realtime {\n"+caddytest.Open+"hub shop\n}")
	var want []string
	for _, room := range []string{"a", "board/1", "board/2"} {
		for i := range 20 {
			text := fmt.Sprint(i, " ", strings.Repeat("x", 1000))
			s.Post(room, text)
			want = append(want, room+" "+text)
		}
	}
	export := func(args ...string) (string, error) {
		return runCommand(exportCommand(), append([]string{"--hub", "shop", "--address", s.Admin}, args...)...)
	}
	check := func(what, lines string, err error, want []string) {
		t.Helper()
		if got := exportedTexts(t, lines); err != nil || !slices.Equal(got, want) {
			t.Errorf("%s: %d lines, want %d; %v", what, len(got), len(want), err)
		}
	}
	out, err := export()
	check("all", out, err, want)
	out, err = export("--room", "board/*")
	check("a pattern", out, err, want[20:])
	out, err = export("--room", "a")
	check("a room", out, err, want[:20])

	file := filepath.Join(t.TempDir(), "rooms.ndjson")
	out, err = export("--output", file)
	if err != nil || out != "exported  60 messages\n" {
		t.Errorf("%s %v", out, err)
	}
	whole := contentOf(t, file)
	check("a file", whole, nil, want)
	if out, err := export("--output", file); err == nil || !strings.Contains(err.Error(), "--resume") || contentOf(t, file) != whole {
		t.Errorf("over a file that exists: %s %v", out, err)
	}
	lines := strings.SplitAfter(whole, "\n")
	for _, n := range []int{0, 1, 10, 20, 59, 60} {
		for _, rest := range []string{"", `{"id":"half of a`} {
			if err := os.WriteFile(file, []byte(strings.Join(lines[:n], "")+rest), 0o600); err != nil {
				t.Fatal(err)
			}
			if out, err := export("--output", file, "--resume"); err != nil || out != fmt.Sprintf("exported  %d messages\n", 60-n) || contentOf(t, file) != whole {
				t.Errorf("after %d lines and %q: %s %v", n, rest, out, err)
			}
		}
	}
	for name, test := range map[string]struct {
		args []string
		err  string
	}{
		"no hub":          {[]string{"--hub", "sales"}, `the hubs here are \"shop\"`},
		"a bad room":      {[]string{"--room", "a//b"}, "empty segment"},
		"no hub, a file":  {[]string{"--hub", "sales", "--output", file + "y"}, `the hubs here are \"shop\"`},
		"nowhere":         {[]string{"--resume"}, "--output"},
		"no file":         {[]string{"--resume", "--output", file + "x"}, "no such file"},
		"no folder":       {[]string{"--output", file + "/x"}, "not a directory"},
		"another file":    {[]string{"--resume", "--output", written(t, "{}\n")}, "not from an export"},
		"another history": {[]string{"--resume", "--output", written(t, strings.ReplaceAll(lines[0], `"id":"`, `"id":"x`))}, "begun anew"},
	} {
		if out, err := export(test.args...); err == nil || !strings.Contains(err.Error(), test.err) {
			t.Errorf("%s: %s %v, want an error with %s", name, out, err, test.err)
		}
	}
}

// An export that never began leaves no file.
func TestExportThatFails(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if out, err := runCommand(exportCommand(), "--address", "127.0.0.1:1", "--output", file); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("%s %v", out, err)
	}
	if _, err := os.Stat(file); !os.IsNotExist(err) {
		t.Errorf("there is a file: %v", err)
	}
}

func contentOf(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// written returns the path of a file with a text.
func written(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Requests that cannot be meant are refused, and there are not too many at once.
func TestExportsThatAreRefused(t *testing.T) {
	s := caddytest.StartAdministered(t, "realtime {\n"+caddytest.Open+"}")
	for target, want := range map[string]int{
		"":                         200,
		"?hub=x":                   404,
		"?room=%2F":                400,
		"?after=e.1":               400,
		"?after_room=a":            400,
		"?after_room=a&after":      400,
		"?after_room=a&after=e.1":  409,
		"?after_room=a&after=e.01": 400,
	} {
		if answer, status, err := administer("GET", "/realtime/export"+target, ""); status != want {
			t.Errorf("%s: %d %s %v, want %d", target, status, answer, err, want)
		}
	}
	if _, status, _ := administer("POST", "/realtime/export", ""); status != http.StatusMethodNotAllowed {
		t.Errorf("POST: %d", status)
	}
	text := strings.Repeat("x", 60_000)
	for range 100 { // more than what waits in buffers
		s.Post("lobby", text)
	}
	var open []*http.Response
	for range maxOperations {
		open = append(open, get(t, s, "/realtime/export"))
	}
	if resp := get(t, s, "/realtime/export"); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("one too many: %s", resp.Status)
	}
	for _, resp := range open {
		if resp.StatusCode != http.StatusOK {
			t.Error(resp.Status)
		}
		_ = resp.Body.Close()
	}
	caddytest.Eventually(t, "the end of those whose clients have gone", func() bool { return operations.Load() == 0 })
	if got := exportedTexts(t, caddytest.ReadAll(t, get(t, s, "/realtime/export"))); len(got) != 100 {
		t.Errorf("%d messages", len(got))
	}
}

// get asks the admin API.
func get(t *testing.T, s *caddytest.Site, target string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Admin+target, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := caddytest.Client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

// An export whose hub ends is cut off, so that nobody takes it for whole.
func TestExportOfAHubThatEnds(t *testing.T) {
	s := caddytest.StartAdministered(t, "realtime {\n"+caddytest.Open+"drain off\n}")
	text := strings.Repeat("x", 60_000)
	for range 100 {
		s.Post("lobby", text)
	}
	resp := get(t, s, "/realtime/export")
	p, err := findHub("")
	if err != nil {
		t.Fatal(err)
	}
	s.Reload("respond x")
	<-p.ended
	lines := new(lineCounter)
	if _, err := io.Copy(lines, resp.Body); err == nil || lines.lines >= 100 {
		t.Errorf("%d lines, and the error %v", lines.lines, err)
	}
}
