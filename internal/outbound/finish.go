package outbound

import (
	"io"
	"net"
	"time"
)

// The part of Conn that ends a connection, for its reader.

// Finish closes the socket and waits until the writer has ended. The reader calls
// it once, when it is done and the session has ended. With linger the writer first
// writes what waits and the goodbye, and the peer gets time to read: Finish closes
// its half of the connection and discards what still comes, since closing with
// unread input would reset the connection and could destroy the closing frame (RFC
// 6455, section 7.1.1). Finish takes at most twice [Farewell].
func (c *Conn) Finish(linger bool) {
	c.mu.Lock()
	if linger {
		c.hurry()
		c.due = true
		c.kick()
	} else {
		c.mu.Unlock()
		c.Cut()
		c.mu.Lock()
	}
	for c.state == writing || c.state == queued {
		c.await()
	}
	c.state = broken
	c.mu.Unlock()
	if linger {
		c.linger()
		c.Cut()
	}
	c.shard.group.remove(c)
}

// Conclude writes what the session is due, then last, which ends the stream:
// nothing follows. It returns when everything is written or [Farewell] is over. The
// reader calls it when the peer has said goodbye.
func (c *Conn) Conclude(last []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.due = last, true
	c.hurry()
	c.kick()
	for c.state == writing || c.state == queued {
		c.await()
	}
}

// await waits until the writer ends; another may begin at once. Called with mu held,
// which it releases meanwhile.
func (c *Conn) await() {
	if c.writerDone == nil {
		c.writerDone = make(chan struct{})
	}
	ended := c.writerDone
	c.mu.Unlock()
	<-ended
	c.mu.Lock()
}

// Cut closes the socket at once and wakes the reader, so that the reader and the
// writer end. (It closes the socket below a tls.Conn, whose own Close would try for
// five seconds to say goodbye to a peer that does not read.)
func (c *Conn) Cut() {
	c.mu.Lock()
	c.socket = -1
	c.mu.Unlock()
	c.close()
	c.reader.Wake()
}

func (c *Conn) close() {
	defer c.survive()
	nc := c.nc
	if under, ok := nc.(interface{ NetConn() net.Conn }); ok {
		nc = under.NetConn()
	}
	_ = nc.Close()
}

// maxLinger bounds how many bytes are discarded from a peer that goes on sending.
const maxLinger = 1 << 20

func (c *Conn) linger() {
	defer c.survive()
	half, ok := c.nc.(interface{ CloseWrite() error })
	if !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(Farewell))
	_, _ = io.CopyN(io.Discard, c.nc, maxLinger)
}
