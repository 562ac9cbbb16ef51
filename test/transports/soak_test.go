package transports

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/bench/soak"
	"github.com/caddy-realtime/realtime/test/caddytest"
)

// TestSoak is the small run of bench soak.
func TestSoak(t *testing.T) {
	s := caddytest.Start(t, "realtime {\n"+caddytest.Open+"room * {\nhistory 1000\n}\n}")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	p, err := soak.Run(ctx, soak.Options{URL: s.URL + "/rt/soak", Clients: 60, Messages: 400, Cuts: 10, Every: 5 * time.Millisecond})
	if err != nil {
		t.Fatalf("%v (%+v)", err, p)
	}
	if p.Delivered != 60*400 || p.Done != 60 || p.Cuts != 60*10 {
		t.Errorf("got %+v, want every message delivered to every client, over ten cuts each", p)
	}
}
