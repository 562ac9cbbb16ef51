package bolt

import (
	"log/slog"
	"math"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-realtime/realtime/hub"
)

// provision returns the module with its defaults.
func provision(t *testing.T, m Module) *Module {
	t.Helper()
	if err := m.Provision(caddy.Context{Context: t.Context()}); err != nil {
		t.Fatal(err)
	}
	return &m
}

func TestModuleOptions(t *testing.T) {
	const gib = 1 << 30
	for _, test := range []struct {
		given    Module
		sync     time.Duration
		size     int64
		syncText string
	}{
		{Module{}, 100 * time.Millisecond, min(gib, maxSize), "100ms"},
		{Module{Sync: "always"}, 0, min(gib, maxSize), "always"},
		{Module{Sync: "0.5s", Size: minSize}, 500 * time.Millisecond, minSize, "500ms"},
		{Module{Sync: "1m", Size: 1 << 29}, time.Minute, 1 << 29, "1m0s"},
	} {
		m := provision(t, test.given)
		if m.options != (Options{Sync: test.sync, Size: test.size}) || m.Sync != test.syncText || m.Size != test.size {
			t.Errorf("%+v gives %+v", test.given, m)
		}
	}
	for want, m := range map[string]*Module{
		`invalid sync "0s"`:       {Sync: "0s"},
		`invalid sync "-1s"`:      {Sync: "-1s"},
		`invalid sync "1d"`:       {Sync: "1d"},
		`invalid size -1`:         {Size: -1},
		`invalid size 1048575`:    {Size: minSize - 1},
		`must name a file`:        {Path: "/"},
		`invalid path "{nobody}"`: {Path: "{nobody}"},
	} {
		if err := m.Provision(caddy.Context{Context: t.Context()}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", m, err, want)
		}
	}
	if got := maxSizeOf(math.MaxInt32); got != 512<<20 {
		t.Errorf("with 32 bits there are at most %d bytes", got)
	}
}

func TestModuleStorage(t *testing.T) {
	t.Setenv("REALTIME_TEST_FOLDER", "/srv/rooms")
	data := filepath.Join(caddy.AppDataDir(), "realtime")
	for _, test := range []struct{ path, hub, want string }{
		{"", "", filepath.Join(data, "default.db")},
		{"", "shop", filepath.Join(data, "shop.db")},
		{"/srv/x.db", "shop", "/srv/x.db"},
		{"/srv/../srv/./x.db", "", "/srv/x.db"},
		{"{env.REALTIME_TEST_FOLDER}/x.db", "", "/srv/rooms/x.db"},
	} {
		if got := provision(t, Module{Path: test.path}).Storage(test.hub); got != test.want {
			t.Errorf("%q, hub %q: %s, want %s", test.path, test.hub, got, test.want)
		}
	}
	if got := provision(t, Module{Path: "x.db"}).Storage(""); !filepath.IsAbs(got) || filepath.Base(got) != "x.db" {
		t.Errorf("a relative path gives %s", got)
	}
}

func TestModuleApply(t *testing.T) {
	m := provision(t, Module{Path: filepath.Join(t.TempDir(), "x.db")})
	e, err := m.Engine("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if _, later := e.(hub.Opener); !later {
		t.Error("it need not be opened")
	}
	if err := provision(t, Module{Path: m.Path, Sync: "always"}).Apply(e); err != nil {
		t.Error(err)
	}
	if err := m.Apply(hub.NewMemory()); err == nil {
		t.Error("another engine takes the options")
	}
}
