package realtime

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/access/backend"
	"github.com/caddy-realtime/realtime/hub"
)

// TestBackendRights checks that a backend may do what its own lines say, and nothing else.
func TestBackendRights(t *testing.T) {
	all := []string{"subscribe", "publish", "signal", "history", "members", "show"}
	for _, test := range []struct {
		name  string
		allow []BackendAllow
		room  string
		may   string
	}{
		{"default", nil, "a/b", strings.Join(all, " ")},
		{"default, reserved", nil, "-/audit", ""},
		{"a verb", []BackendAllow{{Verbs: []string{"publish"}}}, "a", "publish"},
		{"verbs", []BackendAllow{{Verbs: []string{"subscribe", "history"}}}, "a", "subscribe history"},
		{"a room", []BackendAllow{{Verbs: []string{"publish"}, Rooms: []string{"a/*", "b"}}}, "a/1", "publish"},
		{"another room", []BackendAllow{{Verbs: []string{"all"}, Rooms: []string{"a/*", "b"}}}, "c", ""},
		{"lines add up", []BackendAllow{{Verbs: []string{"publish"}, Rooms: []string{"*"}}, {Verbs: []string{"subscribe"}, Rooms: []string{"a"}}}, "a", "subscribe publish"},
		{"where both match", []BackendAllow{{Verbs: []string{"publish"}, Rooms: []string{"a/*"}}, {Verbs: []string{"subscribe"}, Rooms: []string{"a/b/*"}}}, "a/b/c", "subscribe publish"},
		{"a reserved room by name", []BackendAllow{{Verbs: []string{"subscribe"}, Rooms: []string{"-/audit"}}}, "-/audit", "subscribe"},
		{"twice", []BackendAllow{{Verbs: []string{"publish"}, Rooms: []string{"a"}}, {Verbs: []string{"publish", "subscribe"}, Rooms: []string{"a"}}}, "a", "subscribe publish"},
	} {
		rules, err := (&Backend{Allow: test.allow}).rights()
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		var may []string
		for v := hub.VerbSubscribe; v <= hub.VerbShow; v++ {
			if ok, _ := rules.Grants(v, test.room); ok {
				may = append(may, v.String())
			}
		}
		if got := strings.Join(may, " "); got != test.may {
			t.Errorf("%s: it may %q, want %q", test.name, got, test.may)
		}
	}
}

// TestKeysStandElsewhere checks that keys are read from files and the environment, that others
// are warned about, and that none gets into the log.
func TestKeysStandElsewhere(t *testing.T) {
	var keys, hashes []string
	for range 4 {
		key, hash := backend.Generate()
		keys, hashes = append(keys, key), append(hashes, hash)
	}
	const secret = "canary-abcdefghijklmnopqrstuvwxyz-0123456789"
	file := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(file, []byte(keys[1]+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REALTIME_TEST_KEY", hashes[2])
	t.Setenv("REALTIME_TEST_LINKS", secret)
	var log bytes.Buffer
	h := &Handler{
		log: slog.New(slog.NewTextHandler(&log, nil)), AsBackend: "cron",
		Backends: []Backend{
			{Name: "hash", Keys: []string{hashes[0]}},
			{Name: "file", Keys: []string{"{file." + file + "}", "{env.REALTIME_TEST_KEY}"}},
			{Name: "plain", Keys: []string{keys[3]}},
		},
		Links: &Links{Keys: []string{"{env.REALTIME_TEST_LINKS}", secret + "-old"}, Rooms: []string{"board/*"}, Verbs: []string{"publish"}},
	}
	if err := h.checkCredentials(); err != nil {
		t.Fatal(err)
	}
	if err := h.provisionCredentials(); err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{"hash", "file", "file", "plain"} {
		if name, _, err := h.backends.keys.Find(keys[i]); name != want || err != nil {
			t.Errorf("key %d: %q, %v; want %s", i, name, err, want)
		}
	}
	for _, name := range []string{"hash", "file", "plain", "cron"} {
		if c := h.backends.client[name]; c.Credential == nil || c.Credential.Grants == nil {
			t.Errorf("%s has no rights", name)
		}
	}
	publish, _ := h.links.ceiling.Grants(hub.VerbPublish, "board/1")
	subscribe, _ := h.links.ceiling.Grants(hub.VerbSubscribe, "board/1")
	if len(h.links.keys) != 2 || !publish || subscribe {
		t.Errorf("links: %v", h.links)
	}
	text := log.String()
	if strings.Count(text, "a key can be read") != 2 || !strings.Contains(text, "backend plain") || !strings.Contains(text, "option=links") {
		t.Errorf("warnings: %s", text)
	}
	if strings.Contains(text, "canary") || strings.Contains(text, keys[3][13:]) {
		t.Errorf("a key is in the log: %s", text)
	}
}

// No error repeats what may be a key.
func TestErrorsDoNotRepeatKeys(t *testing.T) {
	const canary = "canary"
	t.Setenv("REALTIME_TEST_KEY", "rtk_"+canary)
	t.Setenv("REALTIME_TEST_SHORT", canary)
	links := func(keys ...string) *Links {
		return &Links{Keys: keys, Rooms: []string{"*"}, Verbs: []string{"all"}}
	}
	for i, h := range []*Handler{
		{Backends: []Backend{{Name: canary, Keys: []string{"a"}}, {Name: "rtk_" + canary, Keys: []string{"sha256:" + canary}}}},
		{Backends: []Backend{{Name: "a", Keys: []string{"rtk_" + canary}}}},
		{Backends: []Backend{{Name: "a", Keys: []string{"sha256:" + canary}}}},
		{Backends: []Backend{{Name: "a", Keys: []string{canary, canary, canary}}}},
		{Backends: []Backend{{Name: "a", Keys: []string{"{" + canary + "}"}}}},
		{Backends: []Backend{{Name: "a", Keys: []string{"{env.REALTIME_TEST_KEY}"}}}},
		{Links: links(canary)},
		{Links: links("{env.REALTIME_TEST_SHORT}")},
		{Links: links("{" + canary + "}"), AsBackend: "rtk_" + canary},
		{Links: links(strings.Repeat(canary, 8), strings.Repeat(canary, 8))},
	} {
		h.log = slog.New(slog.DiscardHandler)
		err := h.checkCredentials()
		if err == nil {
			err = h.provisionCredentials()
		}
		// The first one's own name may be repeated.
		if err == nil || i > 0 && strings.Contains(err.Error(), canary) || strings.Contains(err.Error(), "rtk_"+canary) {
			t.Errorf("%d: %v", i, err)
		}
	}
}
