// Package faultproxy is a proxy that misbehaves on request. It stands on a
// loopback port before one backend address, and a test makes it lose, hold back
// or refuse what passes, while it runs:
//
//	proxy, err := faultproxy.New("127.0.0.1:8080")
//	if err != nil {
//		t.Fatal(err)
//	}
//	t.Cleanup(proxy.Close)
//
//	proxy.BlockUpgrade(faultproxy.UpgradeRefused) // as some company networks do
//	proxy.Refuse()                                // the network is gone:
//	proxy.Cut(faultproxy.RST)                     // nothing old lives, nothing new gets in
//	proxy.Resume()                                // and it is back
//
// [New] makes a proxy that understands HTTP/1.1, one request after the other on each
// connection, chunked streams and upgrades included. It dials the backend anew for each
// request, so that a backend which was replaced is found at once. [NewTCP] makes a
// proxy that forwards bytes without reading them, for TLS and for anything that is not
// HTTP/1.1.
//
// It needs the standard library only, and all of it may be used concurrently.
package faultproxy

import (
	"errors"
	"fmt"
	"net"
	"sync"
)

// Direction names one or both ways through the proxy.
type Direction uint8

// The two ways, and their sum.
const (
	ToBackend Direction = 1 << iota
	ToClient
	Both = ToBackend | ToClient
)

// Ending says how a TCP connection is closed.
type Ending uint8

const (
	// FIN is the orderly end: the peer reads what was under way, then EOF.
	FIN Ending = iota
	// RST throws away what was under way; the peer reads "connection reset".
	RST
)

// UpgradeMode says what happens to an HTTP/1.1 request for a WebSocket.
type UpgradeMode uint8

const (
	// UpgradePass lets it through; this is how a proxy begins.
	UpgradePass UpgradeMode = iota
	// UpgradeRefused answers 403 and never asks the backend.
	UpgradeRefused
	// UpgradeKilled lets the handshake succeed and resets the socket 20 ms later.
	UpgradeKilled
	// UpgradeSilent lets the handshake succeed and then swallows every byte, in
	// both directions, until one side closes.
	UpgradeSilent
)

// Hold says how much of a response is held back, see [Proxy.Buffer].
type Hold uint8

const (
	// HoldNothing forwards every byte as it comes; this is how a proxy begins.
	HoldNothing Hold = iota
	// HoldBody forwards status and header at once, but not the body.
	HoldBody
	// HoldAll holds the status and the header too.
	HoldAll
)

// A Proxy listens until Close. Only [New] and [NewTCP] make a usable one.
type Proxy struct {
	backend  string
	listener net.Listener
	serve    func(*link)
	joined   sync.WaitGroup

	mu       sync.Mutex
	links    map[*link]struct{}
	closed   bool
	refusing bool
	broken   string // a path
	stalled  Direction
	changed  chan struct{} // closed and replaced whenever stalled changes
	upgrade  UpgradeMode
	upgrades int
	hold     Hold
	block    int
}

// New starts a proxy for HTTP/1.1 before backend, a host and a port.
func New(backend string) (*Proxy, error) { return start(backend, (*link).serveHTTP) }

// NewTCP starts a proxy for bytes before backend, a host and a port. There
// [Proxy.BlockUpgrade] and [Proxy.Buffer] have no effect.
func NewTCP(backend string) (*Proxy, error) { return start(backend, (*link).serveTCP) }

func start(backend string, serve func(*link)) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("faultproxy: %w", err)
	}
	p := &Proxy{
		backend:  backend,
		listener: listener,
		serve:    serve,
		links:    make(map[*link]struct{}),
		changed:  make(chan struct{}),
	}
	p.joined.Go(p.accept)
	return p, nil
}

// Addr is where the proxy listens: 127.0.0.1 and a port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// URL is "http://" and [Proxy.Addr], without a slash at the end.
func (p *Proxy) URL() string { return "http://" + p.Addr() }

// Connections is how many connections of clients are open. A connection that the client
// closed during a stall counts until the proxy may read again and sees that.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Upgrades is how many requests for an upgrade have come since the start, successful or
// not.
func (p *Proxy) Upgrades() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.upgrades
}

// Cut closes every connection there is, on the client's side and the backend's,
// before it returns. New ones are welcome: call Refuse first where they must
// not be.
func (p *Proxy) Cut(how Ending) {
	p.mu.Lock()
	links := make([]*link, 0, len(p.links))
	for l := range p.links {
		links = append(links, l)
	}
	p.mu.Unlock()
	for _, l := range links {
		l.close(how)
	}
}

// Refuse closes each new connection as soon as it is accepted, until Resume.
// Connections that are open stay so.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = true
}

// Stall forwards nothing more in the directions given, until Resume: what is
// sent from now on waits in buffers, ends of connections included, and every
// connection stays open. New connections are accepted, and stall too. Calls add
// up.
func (p *Proxy) Stall(d Direction) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.setStalled(p.stalled | d)
}

// Freeze forwards nothing more on the connections that are open, in both
// directions and for good, and keeps them open, as a router does that has
// forgotten them. New ones are as they always are.
func (p *Proxy) Freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.frozen = true
	}
}

// Break resets the connection of each request for exactly this path, with any query,
// and answers all others, until Resume. Responses that have begun go on: call Cut where
// they must not.
func (p *Proxy) Break(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.broken = path
}

// Resume ends Refuse, Break and Stall. Data that a stall has held back is sent on.
func (p *Proxy) Resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = false
	p.broken = ""
	p.setStalled(0)
}

func (p *Proxy) setStalled(d Direction) {
	p.stalled = d
	close(p.changed)
	p.changed = make(chan struct{})
}

// BlockUpgrade decides on requests for an upgrade from now on; sockets that are
// open stay as they are.
func (p *Proxy) BlockUpgrade(mode UpgradeMode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upgrade = mode
}

// Buffer holds responses back, as a proxy does that buffers: nothing passes
// before the response has ended or block bytes of its body have come, and so on
// for each further block. It holds for responses that begin from now on, to
// their end, and never for an upgrade. A block below 1 counts as 1 MiB.
func (p *Proxy) Buffer(hold Hold, block int) {
	if block < 1 {
		block = 1 << 20
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hold, p.block = hold, block
}

// Close stops listening, cuts what is open and returns when every goroutine of
// the proxy has ended. It may be called more than once.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.listener.Close()
	p.Cut(FIN)
	p.joined.Wait()
}

// accept runs until the listener is closed. Whether a connection is let in and
// its place in links are decided under one lock, so that a Cut after a Refuse
// or within Close leaves nobody behind.
func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // the client was gone before it was accepted
		}
		l := &link{proxy: p, client: client, done: make(chan struct{})}
		p.mu.Lock()
		welcome := !p.refusing && !p.closed
		if welcome {
			p.links[l] = struct{}{}
		}
		p.mu.Unlock()
		if !welcome {
			l.close(RST)
			continue
		}
		p.joined.Go(func() {
			p.serve(l)
			l.close(FIN)
			p.mu.Lock()
			delete(p.links, l)
			p.mu.Unlock()
		})
	}
}

// pass waits while d is stalled, or l is frozen. It returns false when l was
// closed first.
func (p *Proxy) pass(l *link, d Direction) bool {
	for {
		p.mu.Lock()
		stalled, frozen, changed := p.stalled&d != 0, l.frozen, p.changed
		p.mu.Unlock()
		if frozen {
			changed = nil
		} else if !stalled {
			return true
		}
		select {
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

func (p *Proxy) breaks(path string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.broken != "" && path == p.broken
}

// countUpgrade notes a request for an upgrade and says what becomes of it.
func (p *Proxy) countUpgrade() UpgradeMode {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.upgrades++
	return p.upgrade
}

func (p *Proxy) holding() (Hold, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.hold, p.block
}
