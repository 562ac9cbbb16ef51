package load

import (
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Target says where connections go: to 127.0.0.1.
type Target struct {
	Port int
	Kind Kind
	TLS  bool
	// Path returns the path and query of the connection with that number in the pool.
	Path func(i int) string
	// Linger closes with FIN, not RST: the port stays taken for a while.
	Linger bool
	// ReceiveBuffer is SO_RCVBUF in bytes; 0: the system's.
	ReceiveBuffer int
}

// Pool is a set of connections that one goroutine opens, reads and closes. Only
// Publish may be called by another goroutine beside it. Lock that goroutine to
// its thread, so that it is not moved while it measures.
type Pool struct {
	tally
	epoll  int
	conns  []conn
	open   int // of conns
	events []unix.EpollEvent
	buf    []byte
	guess  time.Duration // how long a round takes
}

// conn is one connection. A closed one has fd -1.
type conn struct {
	stream
	fd     int32
	state  state
	paused bool
	tls    *tls.Conn
}

type state uint8

const (
	live     state = iota
	inHead         // the response's head is due
	inOpen         // Socket.IO: the packet that opens is due
	inAccept       // Socket.IO: the packet that lets in is due
)

const bufferSize = 256 << 10

// epoch is when time begins for the messages.
var epoch = time.Now()

// Now returns the time that messages carry. It never is 0.
func Now() int64 { return int64(time.Since(epoch)) + 1 }

// NewPool returns a pool without connections. It raises the limit of open files
// as far as it is let.
func NewPool() (*Pool, error) {
	RaiseFileLimit()
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll: %w", err)
	}
	return &Pool{epoll: fd, buf: make([]byte, bufferSize), guess: time.Millisecond}, nil
}

// RaiseFileLimit raises the limit of open files as far as it is let.
func RaiseFileLimit() {
	for _, n := range []uint64{1 << 20, 1 << 16} {
		if unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: n, Max: n}) == nil {
			return
		}
	}
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) == nil {
		l.Cur = l.Max
		_ = unix.Setrlimit(unix.RLIMIT_NOFILE, &l)
	}
}

// Len returns how many connections are open.
func (p *Pool) Len() int { return p.open }

// Delivered returns how many messages came, to all connections together.
func (p *Pool) Delivered() int64 { return p.delivered }

// Expect says how many bytes each message has, from now on; 0: any.
func (p *Pool) Expect(size int) { p.size = size }

// Measure counts the latency of each delivery in h, from now on; nil: no more.
func (p *Pool) Measure(h *Histogram) { p.latency = h }

// Publish publishes a message on connection i. It may be called beside one
// goroutine that reads.
func (p *Pool) Publish(i int, number uint64, at int64, size int) error {
	data := AppendMessage(make([]byte, 0, size), number, at, size)
	c := &p.conns[i]
	if c.fd < 0 {
		return fmt.Errorf("publishing on connection %d: %w", i, ErrEnded)
	}
	if err := c.write(appendPublish(make([]byte, 0, size+32), c.kind, data)); err != nil {
		return fmt.Errorf("publishing on connection %d: %w", i, err)
	}
	return nil
}

// PublishBurst publishes count messages from number on, in one write.
func (p *Pool) PublishBurst(i int, number uint64, count, size int) error {
	c := &p.conns[i]
	var b, data []byte
	for n := range count {
		data = AppendMessage(data[:0], number+uint64(n), 0, size)
		b = appendPublish(b, c.kind, data)
	}
	if err := c.write(b); err != nil {
		return fmt.Errorf("publishing on connection %d: %w", i, err)
	}
	return nil
}

// write writes all of b, and waits where it must.
func (c *conn) write(b []byte) error {
	if c.tls != nil {
		_, err := c.tls.Write(b)
		return err
	}
	return writeAll(int(c.fd), b)
}

// Reset forgets which messages are due: the next one may have any number.
func (p *Pool) Reset() {
	for i := range p.conns {
		p.conns[i].next = 0
	}
}

// Pause stops reading connection i.
func (p *Pool) Pause(i int) error {
	p.conns[i].paused = true
	return unix.EpollCtl(p.epoll, unix.EPOLL_CTL_DEL, int(p.conns[i].fd), nil)
}

// Collect reads until this many more messages have come on all connections together, of
// which ready become readable. It sleeps until they seem to be all there, so that
// reading does not compete with the server for the processor.
func (p *Pool) Collect(messages int64, ready int, limit time.Duration) error {
	begin := time.Now()
	want := p.delivered + messages
	p.settle(ready, begin.Add(limit))
	for p.delivered < want {
		if _, err := p.poll(5 * time.Millisecond); err != nil {
			return err
		}
		if time.Since(begin) > limit {
			return p.missing(want)
		}
	}
	if p.delivered > want {
		return fmt.Errorf("%w: %d deliveries too many", ErrRepeated, p.delivered-want)
	}
	return nil
}

// settle sleeps until ready connections can be read, or no more of them become
// readable.
func (p *Pool) settle(ready int, until time.Time) {
	begin := time.Now()
	sleep(p.guess)
	last := -1
	for still := 0; still < 3 && time.Now().Before(until); {
		n := p.ready()
		if n >= ready {
			break
		}
		if still++; n > last {
			still, last = 0, n
		}
		sleep(min(max(p.guess/8, 100*time.Microsecond), 5*time.Millisecond))
	}
	took := time.Since(begin)
	// A little less than it took, so that the guess can fall.
	p.guess = min(max((3*p.guess+took)/4*15/16, 50*time.Microsecond), time.Second)
}

// ready returns how many connections can be read.
func (p *Pool) ready() int {
	p.room()
	n, err := unix.EpollWait(p.epoll, p.events, 0)
	if err != nil {
		return 0
	}
	return n
}

// room makes room for an event of each connection.
func (p *Pool) room() {
	if len(p.events) < len(p.conns) || len(p.events) == 0 {
		p.events = make([]unix.EpollEvent, max(len(p.conns), 16))
	}
}

// missing says which connection has got the least.
func (p *Pool) missing(want int64) error {
	worst := 0
	for i := range p.conns {
		if p.conns[i].fd >= 0 && p.conns[i].next < p.conns[worst].next {
			worst = i
		}
	}
	return fmt.Errorf("%w: %d deliveries are missing; connection %d still waits for number %d",
		ErrLost, want-p.delivered, worst, p.conns[worst].next)
}

// Read reads for so long as more returns true; it is asked after each turn and
// every few milliseconds.
func (p *Pool) Read(more func() bool) error {
	for more() {
		if _, err := p.poll(2 * time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// poll waits for at most so long, reads all that can be read, and returns from
// how many connections.
func (p *Pool) poll(wait time.Duration) (int, error) {
	p.room()
	n, err := unix.EpollWait(p.epoll, p.events, int(wait.Milliseconds()))
	if err != nil && !errors.Is(err, unix.EINTR) {
		return 0, fmt.Errorf("epoll: %w", err)
	}
	for _, e := range p.events[:max(n, 0)] {
		if err := p.read(int(e.Fd)); err != nil {
			return 0, fmt.Errorf("connection %d: %w", e.Fd, err)
		}
	}
	return n, nil
}

// read reads what connection i has.
func (p *Pool) read(i int) error {
	c := &p.conns[i]
	if c.fd < 0 {
		return nil
	}
	for {
		n, err := c.readSome(p.buf)
		switch {
		case errors.Is(err, unix.EAGAIN), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("%w: %w", ErrEnded, err)
		case n == 0:
			return fmt.Errorf("%w without a word", ErrEnded)
		}
		p.now = Now()
		if err := p.take(c, p.buf[:n]); err != nil {
			return err
		}
		if len(p.replies) > 0 {
			err := c.write(p.replies)
			p.replies = p.replies[:0]
			if err != nil {
				return err
			}
		}
		if n < len(p.buf) && c.tls == nil {
			return nil
		}
	}
}

func (c *conn) readSome(b []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(b)
	}
	for {
		n, err := unix.Read(int(c.fd), b)
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// take takes what was read from c, the handshake included.
func (p *Pool) take(c *conn, b []byte) error {
	if c.state == live {
		return c.feed(b, &p.tally)
	}
	b, err := c.shake(b, &p.tally)
	if err != nil || c.state != live || len(b) == 0 {
		return err
	}
	return c.feed(b, &p.tally)
}

// Ended is what became of connections that the server was to end.
type Ended struct {
	Open   int            // still connected
	Causes map[string]int // of the others
}

// Reap reads paused connections to their end, until nothing comes any more or
// so long, and says what became of them. Messages may be missing where it begins;
// then they must be consecutive.
func (p *Pool) Reap(limit time.Duration) Ended {
	e := Ended{Causes: map[string]int{}}
	var left []int
	for i := range p.conns {
		if p.conns[i].paused {
			p.conns[i].next = 0
			left = append(left, i)
		}
	}
	until := time.Now().Add(limit)
	for quiet := 0; quiet < 5 && len(left) > 0 && time.Now().Before(until); quiet++ {
		before := p.delivered
		left = slices.DeleteFunc(left, func(i int) bool {
			err := p.read(i)
			if err != nil {
				e.Causes[cause(err)]++
				p.drop(i)
			}
			return err != nil
		})
		if p.delivered > before {
			quiet = 0
		}
		sleep(100 * time.Millisecond)
	}
	e.Open = len(left)
	return e
}

// cause names an end without the numbers of this one.
func cause(err error) string {
	switch {
	case errors.Is(err, unix.ECONNRESET):
		return "reset"
	case errors.Is(err, ErrLost):
		return "a message was lost"
	default:
		return err.Error()
	}
}

// drop closes connection i.
func (p *Pool) drop(i int) {
	if p.conns[i].fd >= 0 {
		_ = unix.Close(int(p.conns[i].fd))
		p.conns[i] = conn{fd: -1}
		p.open--
	}
}

// Drop closes all connections. The pool may be used again.
func (p *Pool) Drop() {
	for i := range p.conns {
		p.drop(i)
	}
	p.conns = nil
	p.tally = tally{}
	p.guess = time.Millisecond
}

// Close closes all connections and the pool.
func (p *Pool) Close() {
	p.Drop()
	_ = unix.Close(p.epoll)
}
