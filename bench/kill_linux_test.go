package main

import (
	"context"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/bench/kill"
)

// The short form of "bench kill".
func TestKillsLoseNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	r, err := killServer(ctx, kill.Options{
		Kills: 3, Clients: 3, Rooms: 2, Publishers: 1, Every: 10 * time.Millisecond, Settle: 20 * time.Second,
	}, "100ms")
	if err == nil {
		err = r.Err()
	}
	if err != nil || r.Kills != 3 {
		t.Fatalf("%v: %+v", err, r)
	}
}
