package realtime

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/internal/serve"
)

// slowModule makes engines whose methods the test writes.
type slowModule struct {
	MemoryEngine
	open, close func(context.Context) error
}

// slowEngine is an engine of it.
type slowEngine struct {
	*hub.Memory
	of *slowModule
}

func (m *slowModule) Engine(string, *slog.Logger) (hub.Engine, error) {
	return &slowEngine{hub.NewMemory(), m}, nil
}

func (m *slowModule) choice() *engineChoice {
	return &engineChoice{name: "slow", module: m, storage: "/x"}
}

func (e *slowEngine) Open(ctx context.Context) error { return e.of.open(ctx) }

func (e *slowEngine) Close(ctx context.Context) error {
	if e.of.close != nil {
		if err := e.of.close(ctx); err != nil {
			return err
		}
	}
	return e.Memory.Close(ctx)
}

// newApp returns the app of a configuration, with one handler whose hub has an engine of the module.
func newApp(ctx context.Context, t *testing.T, m *slowModule) (*App, *Handler) {
	t.Helper()
	a := &App{ctx: ctx, opened: make(chan struct{})}
	h := &Handler{Hub: "slow", Prefix: "/rt/", app: a, server: new(serve.Server)}
	if err := a.adopt(h.Hub, hubOptions{settings: settings.Defaults()}, m.choice(), slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	a.handlers = []*Handler{h}
	return a, h
}

// askEarly returns the answer of a handler to a request that no hub is needed to refuse, with 400, but
// that has to wait for one.
func askEarly(t *testing.T, h *Handler) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/rt/lobby?last=none", nil)
	if err := h.ServeHTTP(w, r, caddyhttp.HandlerFunc(func(http.ResponseWriter, *http.Request) error { return nil })); err != nil {
		t.Error(err)
	}
	return w
}

// Caddy may start the server before the app. A request that comes then waits, as long as its client does.
func TestRequestBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free, opens := make(chan struct{}), 0
		a, h := newApp(t.Context(), t, &slowModule{open: func(context.Context) error {
			opens++
			<-free
			return nil
		}})
		impatient, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := a.ready(impatient); !errors.Is(err, hub.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a client that went before: %v", err)
		}
		patient, started := make(chan int, 1), make(chan error, 1)
		go func() { patient <- askEarly(t, h).Code }()
		go func() { started <- a.Start() }()
		synctest.Wait()
		if len(patient)+len(started) != 0 {
			t.Error("nobody waited")
		}
		close(free)
		status := <-patient
		if err := <-started; err != nil || status != http.StatusBadRequest || h.hub == nil || h.server.Hub != h.hub || opens != 1 {
			t.Errorf("%v and %d, after %d openings: %+v", err, status, opens, h.server)
		}
		if err := errors.Join(h.Cleanup(), a.Cleanup()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if _, kept := hubs.References(hubKey{"slow", "slow", "/x"}); kept {
			t.Error("the hub was left behind")
		}
	})
}

// Where no hub can be opened, requests are refused, and what was taken is given back.
func TestOpeningFails(t *testing.T) {
	for name, open := range map[string]func(context.Context) error{
		"error":   func(context.Context) error { return errors.New("ill") },
		"panic":   func(context.Context) error { panic("ill") },
		"timeout": func(ctx context.Context) error { <-ctx.Done(); return errors.New("ill") },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				closed := false
				a, h := newApp(t.Context(), t, &slowModule{open: open, close: func(context.Context) error { closed = true; return nil }})
				if err := a.Start(); err == nil || !strings.Contains(err.Error(), "ill") {
					t.Errorf("start: %v", err)
				}
				if w := askEarly(t, h); w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "ill") {
					t.Errorf("a request: %d, %v, %s", w.Code, w.Header(), w.Body)
				}
				h.shutDown()
				if err := errors.Join(a.Cleanup(), h.Cleanup()); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if _, kept := hubs.References(hubKey{"slow", "slow", "/x"}); kept || !closed {
					t.Errorf("left behind: %v; closed: %v", kept, closed)
				}
			})
		})
	}
}

// A configuration that ends while its hubs are opened does not wait for that, and one that was never started
// opens none.
func TestCleanupEndsOpening(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		opens := 0
		ctx, cancel := context.WithCancel(t.Context())
		m := &slowModule{open: func(ctx context.Context) error {
			opens++
			<-ctx.Done()
			return ctx.Err()
		}}
		a, h := newApp(ctx, t, m)
		waiting := make(chan error, 1)
		go func() { waiting <- a.ready(t.Context()) }()
		synctest.Wait()
		begin := time.Now()
		cancel()
		if err := errors.Join(h.Cleanup(), a.Cleanup()); err != nil {
			t.Error(err)
		}
		if err := <-waiting; !errors.Is(err, hub.ErrUnavailable) || time.Since(begin) > 0 {
			t.Errorf("the request got %v after %v", err, time.Since(begin))
		}
		a, h = newApp(ctx, t, m)
		h.shutDown()
		if err := errors.Join(h.Cleanup(), a.Cleanup()); err != nil {
			t.Error(err)
		}
		if err := a.ready(t.Context()); !errors.Is(err, hub.ErrUnavailable) || opens != 1 {
			t.Errorf("after it was refused: %v, %d openings", err, opens)
		}
		synctest.Wait()
	})
}

// The process exits when the engines are closed, for which they have some seconds, and also if one panics.
func TestExitWaitsForEngines(t *testing.T) {
	for name, ends := range map[string]func(){"closed": func() {}, "panic": func() { panic("ill") }} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var closed atomic.Bool
				a, h := newApp(t.Context(), t, &slowModule{
					open: func(context.Context) error { return nil },
					close: func(ctx context.Context) error {
						<-time.After(closeTime)
						closed.Store(ctx.Err() == nil)
						ends()
						return nil
					},
				})
				if err := a.Start(); err != nil {
					t.Fatal(err)
				}
				p := a.adopted["slow"].pooled
				if err := errors.Join(h.Cleanup(), a.Cleanup()); err != nil {
					t.Error(err)
				}
				waitForDrains(t.Context())
				select {
				case <-p.released:
				default:
					t.Error("its file is not free")
				}
				if !closed.Load() {
					t.Error("the engine had no time to close")
				}
			})
		})
	}
}

// startLong starts a configuration whose hub has an engine, and drains for an hour. stop ends it.
func startLong(t *testing.T, m *slowModule, engine *engineChoice) (h *Handler, stop func()) {
	t.Helper()
	a, h := newApp(t.Context(), t, m)
	a.adopted["slow"].engine = engine
	a.adopted["slow"].settings.Drain = time.Hour
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	return h, func() {
		if err := errors.Join(h.Cleanup(), a.Cleanup()); err != nil {
			t.Error(err)
		}
	}
}

// connectAs returns the session of a client that never reads, and so does not go by itself.
func connectAs(t *testing.T, h *Handler, user string) *hub.Session {
	t.Helper()
	s, err := h.hub.Connect(hub.Client{User: &hub.User{ID: user}}, make(hub.WakeChan, 1))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// While a hub drains, perhaps for an hour, commands mean the new one of its name, and what they revoke holds in
// both. The drain ends at once if somebody needs the storage.
func TestHubThatDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var calls []string
		m := &slowModule{
			open:  func(context.Context) error { calls = append(calls, "open"); return nil },
			close: func(context.Context) error { calls = append(calls, "close"); return nil },
		}
		first, stop := startLong(t, m, m.choice())
		old := connectAs(t, first, "ann")
		second, stopSecond := startLong(t, m, memoryChoice)
		for range 100 { // the pool has no order
			if p, err := findHub("slow"); err != nil || p.hub != second.hub {
				t.Fatalf("while both are in use, commands mean %v, %v", p, err)
			}
		}
		stop()
		synctest.Wait()
		if p, err := findHub("slow"); err != nil || p.hub != second.hub {
			t.Errorf("commands mean %v, %v", p, err)
		}
		look := slices.DeleteFunc(lookAtHubs().Hubs, func(l hubAnswer) bool { return l.Hub != "slow" }) // another test's may still drain
		if len(look) != 2 || look[0].State != "serving" || look[1].State != "draining" {
			t.Errorf("the hubs are %+v", look)
		}
		fresh := connectAs(t, second, "ann")
		answer := httptest.NewRecorder()
		if err := serveRevoke(answer, httptest.NewRequest(http.MethodPost, "/realtime/revoke", strings.NewReader(`{"hub": "slow", "user": "ann"}`))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if old.Ended() != hub.CauseCredential || fresh.Ended() != hub.CauseCredential {
			t.Errorf("after the user was revoked: %v and %v", old.Ended(), fresh.Ended())
		}

		third, stopThird := startLong(t, m, m.choice())
		s := connectAs(t, third, "ben")
		stopThird()
		synctest.Wait()
		begin := time.Now()
		_, stopFourth := startLong(t, m, m.choice())
		if took := time.Since(begin); took > 0 || s.Ended() != hub.CauseStopping {
			t.Errorf("the storage was free after %v; its client has ended with %v", took, s.Ended())
		}
		if got := strings.Join(calls, " "); got != "open close open close open" {
			t.Errorf("the engine was told: %s", got)
		}
		stopSecond()
		stopFourth()
		waitForDrains(t.Context())
	})
}

// The logger of an engine writes where the configuration in force does.
func TestLastingLog(t *testing.T) {
	var now atomic.Pointer[slog.Logger]
	logTo := func() *bytes.Buffer {
		b := new(bytes.Buffer)
		now.Store(slog.New(slog.NewTextHandler(b, nil)))
		return b
	}
	first := logTo()
	log := slog.New(lastingLog{now: &now}).With("hub", "x").WithGroup("file")
	other := log.With("size", 1)
	log.Info("opened", "path", "/a")
	second := logTo()
	other.Info("grown")
	other.Debug("not of this level")
	if got := first.String(); !strings.HasSuffix(got, "msg=opened hub=x file.path=/a\n") {
		t.Errorf("the first configuration logs %q", got)
	}
	if got := second.String(); !strings.HasSuffix(got, "msg=grown hub=x file.size=1\n") {
		t.Errorf("the second configuration logs %q", got)
	}
}

// What is no engine is no engine in JSON either.
func TestEngineInJSON(t *testing.T) {
	for config, want := range map[string]string{
		`"bolt"`:                             `invalid engine: must be an object like {"name": "memory"}`,
		`{}`:                                 `unknown engine ""`,
		`{"name": "redis"}`:                  `unknown engine "redis": this Caddy has `,
		`{"name": "memory", "size": "1GiB"}`: `unknown field "size"`,
	} {
		ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
		defer cancel()
		h := &Handler{EngineRaw: []byte(config)}
		if _, err := h.provisionEngine(ctx); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", config, err, want)
		}
	}
}
