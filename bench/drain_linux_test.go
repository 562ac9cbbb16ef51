package main

import (
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/bench/drain"
)

// The short form of "bench drain".
func TestDrainLosesNothing(t *testing.T) {
	r, err := drainServer(t.Context(), drain.Options{
		Clients: 200, Rooms: 2, Every: 10 * time.Millisecond, Reloads: 3, Between: 200 * time.Millisecond, Drain: time.Second, Settle: 3 * time.Second,
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if r.Moved == 0 || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
}
