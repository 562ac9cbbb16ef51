package outbound

import (
	"net"
	"reflect"
	"time"
)

// unwatched is how many bytes are written at once to a peer that cannot be observed:
// it has to accept them within Stall.
const unwatched = 16 << 10

// slowness is how long a peer may accept nothing, and how often a slow one is looked
// at. Tests shorten both.
var slowness = struct{ stall, look time.Duration }{Stall, 3 * time.Second}

// watch renews the deadline of a write that takes long, while the peer accepts
// something. A deadline alone does not do: it covers a whole write, TLS cannot
// continue a write that has missed it, and a socket with a large buffer becomes
// writable again only when a third of it is free.
type watch struct {
	conn   *Conn
	timer  *time.Timer
	socket socket

	// Guarded by the connection's mu.
	taken uint64 // at the last look
	over  bool   // the watch has ended
}

// attend begins a watch, if the socket can be observed. It lasts until the writer
// ends.
func (c *Conn) attend() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attendLocked()
}

// attendLocked is attend with mu held.
func (c *Conn) attendLocked() {
	if c.slow = true; c.revoked != c.session.Revocations() {
		c.until = time.Now() // see Revoke
	}
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

// look renews the deadline if the peer has accepted something since the last look.
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

// Abandon has the system give up a connection whose peer has acknowledged nothing
// for three heartbeats, and no less than [Stall], although something was sent
// (TCP_USER_TIMEOUT, RFC 5482; on Linux only). A path that swallows packets gives no
// other sign that the peer is gone. Without heartbeats the time is 90 seconds.
func Abandon(nc net.Conn, heartbeat time.Duration) {
	after := max(3*heartbeat, Stall)
	if heartbeat <= 0 {
		after = 3 * Stall
	}
	if s, ok := under(nc); ok {
		s.abandon(after)
	}
}

// under returns the socket below all wrappers of a connection. It is only inspected
// and given options, never written to: a wrapper may change the bytes.
func under(nc net.Conn) (socket, bool) {
	for range 8 { // deeper than anybody wraps
		switch t := nc.(type) {
		case *net.TCPConn, *net.UnixConn:
			return socketUnder(nc)
		case interface{ NetConn() net.Conn }: // *tls.Conn and its kin
			nc = t.NetConn()
		case interface{ Raw() net.Conn }: // go-proxyproto's
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
