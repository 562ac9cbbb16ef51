package realtime

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// The part of the admin API that shows the hubs, and how they end.

const (
	// hubsEvery is the time between two looks at the hubs for a stream.
	hubsEvery = time.Second
	// hubsWhileExiting is the same while the process exits.
	hubsWhileExiting = 100 * time.Millisecond
	// maxHubsStreams is how many streams there may be.
	maxHubsStreams = 16
	// hubsWriteTime is how long a client may take to accept a line.
	hubsWriteTime = time.Second
)

// hubsStreams counts the streams.
var hubsStreams atomic.Int32

// hubsAnswer is the answer to GET /realtime/hubs, and a line of its stream.
type hubsAnswer struct {
	Hubs []hubAnswer `json:"hubs"`
}

// hubAnswer is a hub in it.
type hubAnswer struct {
	Hub         string `json:"hub"`
	State       string `json:"state"` // serving or draining
	Connections int    `json:"connections"`
	Rooms       int    `json:"rooms"`
	Bytes       int64  `json:"bytes"` // kept
}

// lookAtHubs returns all hubs, those included that are ending, by their names.
func lookAtHubs() hubsAnswer {
	all := make(map[*pooledHub]bool)
	for _, p := range slices.Concat(pooled(), drains.list()) {
		if p.opened.Load() {
			all[p] = true
		}
	}
	answer := hubsAnswer{Hubs: []hubAnswer{}}
	for p := range all {
		stats := p.hub.Stats()
		state := "serving"
		if p.hub.Draining() {
			state = "draining"
		}
		answer.Hubs = append(answer.Hubs, hubAnswer{p.name, state, stats.Sessions, stats.Rooms, stats.Bytes})
	}
	slices.SortFunc(answer.Hubs, func(a, b hubAnswer) int {
		return cmp.Or(strings.Compare(a.Hub, b.Hub), -strings.Compare(a.State, b.State))
	})
	return answer
}

// serveHubs serves GET /realtime/hubs.
func serveHubs(w http.ResponseWriter, r *http.Request) error {
	if !strings.Contains(r.Header.Get("Accept"), "application/x-ndjson") {
		return writeAdminJSON(w, lookAtHubs())
	}
	defer hubsStreams.Add(-1)
	if hubsStreams.Add(1) > maxHubsStreams {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: errors.New("there are 16 streams of the hubs already")}
	}
	w.Header().Set("Content-Type", "application/x-ndjson")
	return watchHubs(w, r)
}

// watchHubs streams the hubs: a line now, and one when something has changed. It ends with the drain
// when the process exits, since the admin API waits for it.
func watchHubs(w http.ResponseWriter, r *http.Request) error {
	tick, begun, last := time.NewTicker(hubsEvery), exiting.begun, ""
	defer tick.Stop()
	for {
		ended := caddy.Exiting() && len(drains.list()) == 0 // before the look, which is the last then
		look := lookAtHubs()
		line, err := json.Marshal(look)
		if err != nil {
			return err
		}
		if string(line) != last {
			last = string(line)
			if sendLine(w, line) != nil {
				return nil // the client has gone
			}
		}
		if ended && (begun == nil || len(look.Hubs) == 0) { // a reload may be under way before the drain begins
			return nil
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return nil
		case <-begun:
			begun = nil
			tick.Reset(hubsWhileExiting)
		}
	}
}

// sendLine writes a line at once.
func sendLine(w http.ResponseWriter, line []byte) error {
	rc := http.NewResponseController(w)
	if err := rc.SetWriteDeadline(time.Now().Add(hubsWriteTime)); err != nil {
		return err
	}
	if _, err := w.Write(append(line, '\n')); err != nil {
		return err
	}
	if err := rc.Flush(); err != nil {
		return err
	}
	return rc.SetWriteDeadline(time.Time{})
}
