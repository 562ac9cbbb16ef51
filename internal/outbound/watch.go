package outbound

import (
	"net"
	"reflect"
	"time"
)

// unwatched is how much is written at once to a peer that cannot be looked at, in
// bytes: so much it has to take within Stall.
const unwatched = 16 << 10

// slowness says how long a peer may take nothing, and how often a slow one is
// looked at. Tests are in a hurry.
var slowness = struct{ stall, look time.Duration }{Stall, 3 * time.Second}

// watch keeps a write that takes long ahead of its deadline, for as long as the
// peer takes something. A deadline alone cannot: it covers a whole write, which
// TLS does not go on with afterwards, and a socket with a large buffer tells of
// room again only when a third of it is free.
type watch struct {
	conn   *Conn
	timer  *time.Timer
	socket socket
	taken  uint64 // at the last look; guarded by the connection's mu
	over   bool   // so is this
}

// attend watches the connection until its writer ends, if there is something to be
// seen.
func (c *Conn) attend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendLocked()
}

// attendLocked is attend with mu held.
func (c *Conn) attendLocked() {
	if c.looking != nil {
		return
	}
	s, ok := under(c.nc)
	if !ok {
		return
	}
	w := &watch{conn: c, socket: s}
	if w.taken, ok = s.taken(); ok {
		w.timer = time.AfterFunc(slowness.look, w.look)
		c.looking = w
	}
}

func (w *watch) look() {
	c := w.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.over || !c.until.IsZero() {
		return
	}
	if taken, ok := w.socket.taken(); ok && taken != w.taken {
		w.taken = taken
		c.guard()
	}
	w.timer.Reset(slowness.look)
}

// stop ends a watch, if there is one. Called with the connection's mu held.
func (w *watch) stop() {
	if w != nil {
		w.over = true
		w.timer.Stop()
	}
}

// Abandon has the system give a connection up once its peer has acknowledged
// nothing for three heartbeats, and no less than [Stall], although something was
// sent (TCP_USER_TIMEOUT, RFC 5482; on Linux): on a path that swallows packets the
// peer is gone and nobody says so. Without heartbeats it is 90 seconds.
func Abandon(nc net.Conn, heartbeat time.Duration) {
	after := max(3*heartbeat, Stall)
	if heartbeat <= 0 {
		after = 3 * Stall
	}
	if s, ok := under(nc); ok {
		s.abandon(after)
	}
}

// under returns the socket that a connection stands on, whatever is wrapped around
// it. It is for looking at, and for setting options: what a wrapper does with bytes
// nobody knows.
func under(nc net.Conn) (socket, bool) {
	for range 8 { // deeper than anybody wraps
		switch t := nc.(type) {
		case *net.TCPConn, *net.UnixConn:
			return socketUnder(nc)
		case interface{ NetConn() net.Conn }: // *tls.Conn and its kin
			nc = t.NetConn()
		case interface{ Raw() net.Conn }: // of the PROXY protocol
			nc = t.Raw()
		default:
			v := reflect.ValueOf(nc)
			if v.Kind() == reflect.Pointer {
				v = v.Elem()
			}
			if v.Kind() != reflect.Struct {
				return socket{}, false
			}
			// Caddy's and many others embed the connection below.
			field := v.FieldByName("Conn")
			if !field.IsValid() || !field.CanInterface() {
				return socket{}, false
			}
			next, ok := reflect.TypeAssert[net.Conn](field)
			if !ok {
				return socket{}, false
			}
			nc = next
		}
	}
	return socket{}, false
}
