package peers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync"

	"github.com/coder/websocket"

	"github.com/caddy-realtime/realtime/bench/load"
)

// channelsHub is the hub that most people would write first: a goroutine and a channel
// for each connection, on github.com/coder/websocket. A client that is too slow is
// disconnected.
type channelsHub struct {
	mu    sync.Mutex
	rooms map[string]map[chan message]func()
}

type message struct {
	kind websocket.MessageType
	data []byte
}

// ServeChannels serves that hub on a port. It returns only if it can't.
func ServeChannels(port int) error {
	load.RaiseFileLimit()
	collectOnSignal()
	l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(port))
	if err != nil {
		return err
	}
	h := &channelsHub{rooms: map[string]map[chan message]func(){}}
	return http.Serve(l, h)
}

// ServeHTTP implements [http.Handler].
func (h *channelsHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	out := make(chan message, 256)
	room := r.URL.Path
	h.join(room, out, cancel)
	defer h.leave(room, out)
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer ws.CloseNow()
	go func() {
		defer cancel()
		for {
			select {
			case m := <-out:
				if ws.Write(ctx, m.kind, m.data) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	ws.SetReadLimit(load.MaxSize)
	for {
		kind, data, err := ws.Read(ctx)
		if err != nil {
			if errors.Is(err, context.Canceled) {
				_ = ws.CloseNow()
			}
			return
		}
		h.publish(room, message{kind, data})
	}
}

func (h *channelsHub) join(room string, out chan message, cancel func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rooms[room] == nil {
		h.rooms[room] = map[chan message]func(){}
	}
	h.rooms[room][out] = cancel
}

func (h *channelsHub) leave(room string, out chan message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if delete(h.rooms[room], out); len(h.rooms[room]) == 0 {
		delete(h.rooms, room)
	}
}

func (h *channelsHub) publish(room string, m message) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for out, cancel := range h.rooms[room] {
		select {
		case out <- m:
		default:
			cancel()
		}
	}
}
