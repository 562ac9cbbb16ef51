package main

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/bench/drain"
)

// The short form of "bench drain".
func TestDrainLosesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r, err := drainServer(ctx, drain.Options{
		Clients: 200, Rooms: 2, Every: 10 * time.Millisecond, Reloads: 3, Between: 200 * time.Millisecond, Drain: 3 * time.Second, Settle: 5 * time.Second,
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
	if r.Moved == 0 || r.Messages == 0 {
		t.Errorf("%+v", r)
	}
}
