package faultproxy_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"github.com/caddy-realtime/realtime/e2e/faultproxy"
)

func TestCut(t *testing.T) {
	for _, test := range []struct {
		name string
		how  faultproxy.Ending
		want error
	}{
		{"FIN", faultproxy.FIN, nil},
		{"RST", faultproxy.RST, syscall.ECONNRESET},
	} {
		t.Run(test.name, func(t *testing.T) {
			proxy := newEcho(t)
			one, two := dial(t, proxy), dial(t, proxy)
			for _, w := range []*wire{one, two} {
				w.send("hello\n")
				w.wantLine("hello")
			}
			proxy.Cut(test.how)
			for _, w := range []*wire{one, two} {
				if err := w.wantEnd(); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			}
			eventually(t, "no connection counted", func() bool { return proxy.Connections() == 0 })
			three := dial(t, proxy)
			three.send("again\n")
			three.wantLine("again")
		})
	}
}

func TestRefuse(t *testing.T) {
	proxy := newEcho(t)
	old := dial(t, proxy)
	old.send("hello\n")
	old.wantLine("hello")

	proxy.Refuse()
	dialClosed(t, proxy)
	old.send("still here\n")
	old.wantLine("still here")

	proxy.Resume()
	fresh := dial(t, proxy)
	fresh.send("hello\n")
	fresh.wantLine("hello")
}

// After Refuse and Cut no client is connected, not even one that came in between.
func TestRefuseAndCutLeaveNobody(t *testing.T) {
	proxy := newEcho(t)
	var dials sync.WaitGroup
	for range 20 {
		dials.Go(func() { dialClosed(t, proxy) })
	}
	proxy.Refuse()
	proxy.Cut(faultproxy.RST)
	dials.Wait()
	eventually(t, "no connection counted", func() bool { return proxy.Connections() == 0 })
}

func TestStall(t *testing.T) {
	for _, d := range []faultproxy.Direction{faultproxy.ToBackend, faultproxy.ToClient, faultproxy.Both} {
		t.Run(fmt.Sprint(d), func(t *testing.T) {
			proxy := newEcho(t)
			w := dial(t, proxy)
			w.send("before\n")
			w.wantLine("before")
			proxy.Stall(d)
			w.send("during\n")
			w.wantSilence()
			late := dial(t, proxy)
			late.send("late\n")
			late.wantSilence()
			proxy.Resume()
			w.wantLine("during")
			late.wantLine("late")
		})
	}
}

// A stall that adds to another one keeps both ways shut.
func TestFreeze(t *testing.T) {
	proxy := newEcho(t)
	w := dial(t, proxy)
	w.send("before\n")
	w.wantLine("before")
	proxy.Freeze()
	w.send("during\n")
	w.wantSilence()
	proxy.Resume()
	w.wantSilence()
	late := dial(t, proxy)
	late.send("late\n")
	late.wantLine("late")
	proxy.Cut(faultproxy.FIN)
	w.wantEnd()
}

func TestStallHoldsTheEnd(t *testing.T) {
	proxy := newEcho(t)
	w := dial(t, proxy)
	w.send("hello\n")
	w.wantLine("hello")
	proxy.Stall(faultproxy.ToBackend)
	proxy.Stall(faultproxy.ToClient)
	w.Conn.Close()
	if n := proxy.Connections(); n != 1 {
		t.Errorf("%d connections during the stall, want 1", n)
	}
	proxy.Resume()
	eventually(t, "the end arrives", func() bool { return proxy.Connections() == 0 })
}

func TestCutEndsAStall(t *testing.T) {
	proxy := newEcho(t)
	proxy.Stall(faultproxy.Both)
	w := dial(t, proxy)
	w.send("lost\n")
	eventually(t, "one connection", func() bool { return proxy.Connections() == 1 })
	proxy.Cut(faultproxy.FIN)
	w.wantEnd()
	eventually(t, "no connection counted", func() bool { return proxy.Connections() == 0 })
}

// Each half of a connection ends on its own, as with TCP.
func TestHalfClose(t *testing.T) {
	proxy := newEcho(t)
	w := dial(t, proxy)
	w.send("last words")
	w.Conn.(interface{ CloseWrite() error }).CloseWrite()
	if got, err := io.ReadAll(w); err != nil || string(got) != "last words" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestBackendDown(t *testing.T) {
	for _, test := range []struct {
		name  string
		start func(string) (*faultproxy.Proxy, error)
		check func(*testing.T, *faultproxy.Proxy)
	}{
		{"HTTP", faultproxy.New, func(t *testing.T, proxy *faultproxy.Proxy) {
			if resp := dial(t, proxy).get("/"); resp.StatusCode != http.StatusBadGateway || !resp.Close {
				t.Errorf("got %s, close %t", resp.Status, resp.Close)
			}
		}},
		{"TCP", faultproxy.NewTCP, dialClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			gone := newEcho(t)
			gone.Close()
			gone.Close() // twice is fine
			proxy, err := test.start(gone.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			test.check(t, proxy)
		})
	}
}

// Faults in any order, at any time, leave a proxy that works and can be closed.
func TestStorm(t *testing.T) {
	proxy, _ := newHTTP(t, func(w http.ResponseWriter, r *http.Request) {
		for range 50 {
			if _, err := io.WriteString(w, "0123456789\n"); err != nil {
				return
			}
			http.NewResponseController(w).Flush()
		}
	})
	faults := []func(){
		func() { proxy.Cut(faultproxy.RST) },
		func() { proxy.Cut(faultproxy.FIN) },
		func() { proxy.Stall(faultproxy.ToClient) },
		func() { proxy.Stall(faultproxy.Both) },
		func() { proxy.Buffer(faultproxy.HoldBody, 100) },
		func() { proxy.Buffer(faultproxy.HoldAll, 0) },
		func() { proxy.Buffer(faultproxy.HoldNothing, 0) },
		func() { proxy.Connections() },
		proxy.Refuse, proxy.Resume, proxy.Resume, proxy.Resume,
	}
	client := &http.Client{Transport: &http.Transport{}, Timeout: silence}
	defer client.CloseIdleConnections()
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 50 {
				if resp, err := client.Get(proxy.URL()); err == nil {
					io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				faults[rand.IntN(len(faults))]()
			}
			proxy.Resume() // the last one out leaves no stall behind
		})
	}
	all.Wait()
	proxy.Buffer(faultproxy.HoldNothing, 0)
	client.Timeout = patience
	resp, err := client.Get(proxy.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || len(body) != 550 {
		t.Errorf("got %d bytes, %v", len(body), err)
	}
}
