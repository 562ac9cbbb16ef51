package faultproxy

import (
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// dialTimeout bounds what Close may have to wait for.
const dialTimeout = 5 * time.Second

// link is one client's connection, with the one to the backend that belongs to
// it at the moment.
type link struct {
	proxy  *Proxy
	client net.Conn
	done   chan struct{} // closed by close
	frozen bool          // the proxy's lock guards it

	mu      sync.Mutex
	backend net.Conn
	closed  bool
}

// close ends both sides; only the first call counts.
func (l *link) close(how Ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	close(l.done)
	end(l.client, how)
	if l.backend != nil {
		end(l.backend, how)
	}
}

func end(c net.Conn, how Ending) {
	if tcp, ok := c.(*net.TCPConn); ok && how == RST {
		tcp.SetLinger(0)
	}
	c.Close()
}

// dial opens the connection to the backend in place of the one before.
func (l *link) dial() (net.Conn, error) {
	backend, err := net.DialTimeout("tcp", l.proxy.backend, dialTimeout)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		backend.Close()
		return nil, net.ErrClosed
	}
	if l.backend != nil {
		l.backend.Close()
	}
	l.backend = backend
	return backend, nil
}

// fromClient and toClient are the client's two halves, held while the proxy
// stalls that way.
func (l *link) fromClient() io.Reader { return gatedReader{l, l.client, ToBackend} }

func (l *link) toClient() io.Writer { return gatedWriter{l} }

// gatedReader hands out what it has read, or the end of it, only when the proxy
// lets that direction pass.
type gatedReader struct {
	l   *link
	src net.Conn
	d   Direction
}

func (g gatedReader) Read(b []byte) (int, error) {
	n, err := g.src.Read(b)
	if !g.l.proxy.pass(g.l, g.d) {
		return 0, net.ErrClosed
	}
	return n, err
}

type gatedWriter struct{ l *link }

func (g gatedWriter) Write(b []byte) (int, error) {
	if !g.l.proxy.pass(g.l, ToClient) {
		return 0, net.ErrClosed
	}
	return g.l.client.Write(b)
}

// serveTCP forwards both ways until both have ended, or one of them broke.
func (l *link) serveTCP() {
	backend, err := l.dial()
	if err != nil {
		l.close(RST)
		return
	}
	var up sync.WaitGroup
	up.Go(func() { l.forward(backend, l.fromClient()) })
	l.forward(l.client, gatedReader{l, backend, ToClient})
	up.Wait()
}

// forward copies until src ends, and then ends that half of dst alone; a broken
// connection breaks the other one.
func (l *link) forward(dst net.Conn, src io.Reader) {
	_, err := io.Copy(dst, src)
	if err != nil {
		l.close(ending(err))
		return
	}
	if tcp, ok := dst.(*net.TCPConn); ok {
		tcp.CloseWrite()
	}
}

// ending returns how the other side learns that a connection has ended.
func ending(err error) Ending {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return FIN
	}
	return RST
}
