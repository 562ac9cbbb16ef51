package main

import (
	"net/http"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/bench/takeaway"
)

// The short form of "bench rights".
func TestRightsAreTakenAway(t *testing.T) {
	r, err := takeRights(t.Context(), takeaway.Options{
		Clients: 100, Every: 20 * time.Millisecond, Before: 200 * time.Millisecond, After: 200 * time.Millisecond,
		Publisher: http.Header{"X-Publisher": {"yes"}},
	})
	if err != nil {
		t.Fatalf("%v: %+v", err, r)
	}
}
