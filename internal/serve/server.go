// Package serve carries out the requests of one handler: what a request wants, who it
// comes from, doing it. It does not know Caddy: the handler tells it what only Caddy
// knows.
package serve

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/internal/netpoll"
	"github.com/caddy-realtime/realtime/internal/outbound"
)

// Server serves the rooms of one handler. Its fields are set before the first request,
// and do not change. All but the options, UI and Frame must be set.
type Server struct {
	Hub    *hub.Hub
	Group  *outbound.Group // writes to connections that have left net/http
	Poller *netpoll.Poller // where they wait while they are idle
	Log    *slog.Logger
	Down   <-chan struct{} // closed when net/http shuts down: streams and polls that it still holds end

	// Options of the handler. Zero values switch them off.
	Heartbeat    time.Duration // between signs of life
	Compression  bool          // of what WebSockets are sent
	Origins      []string      // whose pages may use the rooms, besides the site's own
	Subprotocols []string      // of WebSockets, besides our own

	MaxHeaderBytes int             // of a request, as net/http takes it; 0: no bound
	Refused        *RefusedOrigins // of all handlers of one configuration

	// Identify returns the client that sent a request: its user, as an authentication
	// handler before us has set it, and its address.
	Identify func(r *http.Request) hub.Client
	// LiftWriteTimeout removes a configured write timeout from one response: such
	// timeouts are for responses that end. Here each write has a bound of its own.
	LiftWriteTimeout func(r *http.Request)

	// UI answers browsers with the page of a room; nil: they get the JSON page. rest is
	// the path after the prefix, which is empty if the query names the room.
	UI func(w http.ResponseWriter, r *http.Request, rooms []string, rest string) error
	// Frame sets the headers of the log that this page shows in a frame.
	Frame func(header http.Header)

	held sync.Once // the warning that a stream was held back
}

// connKey is the key of a request's connection in its context.
type connKey struct{}

// WithConn adds a connection to the context of its requests, as
// [http.Server.ConnContext] does. Without it the system gives up a client that has
// silently gone only after its own, longer time.
func WithConn(ctx context.Context, nc net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, nc)
}
