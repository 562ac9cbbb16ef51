package bolt

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	bbolt "go.etcd.io/bbolt"

	"github.com/caddy-realtime/realtime/engine/bolt/journal"
	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/receipts"
)

// The writer, and what brings publications to it.

const (
	// maxGathered is how many publications one frame of the journal has at most.
	maxGathered = 4096
	// maxFrame is how large a frame may become before no more is added, in bytes.
	maxFrame = 4 << 20
	// maxWaiting bounds what the database does not have yet, in bytes. Publishing waits above that, as long as the
	// database follows.
	maxWaiting = 64 << 20
	// overhead is what an entry weighs beside its message's data, in bytes.
	overhead = 400
	// ahead is for how long offsets are reserved, in microseconds: a loss of power must not give one
	// of them to two messages, wherever the clock stands afterwards.
	ahead = uint64(10 * time.Minute / time.Microsecond)
)

// publication is a draft on its way to the writer.
type publication struct {
	room    *room
	message *hub.Message
	key     *receipts.Entry[hub.Receipt] // nil: it has no idempotency key
	scope   [16]byte
	print   [16]byte
	done    chan struct{} // closed when receipt and err are set
	receipt hub.Receipt
	err     error
}

// Publish implements [hub.Engine].
func (e *Engine) Publish(ctx context.Context, d hub.Draft) (hub.Receipt, error) {
	p := &publication{message: d.Message, done: make(chan struct{})}
	if d.Scope != "" {
		sum := sha256.Sum256([]byte(d.Scope))
		copy(p.scope[:], sum[:])
		p.print = d.Print
		entry, r, replayed, err := e.keys.Begin(ctx, string(p.scope[:]), d.Print)
		if entry == nil {
			r.Replayed = replayed
			return r, err
		}
		p.key = entry
	}
	p.room = e.pin(d.Message.Room)
	if d.Message.Signal {
		p.settle(e, p.room.signal(d.Message), nil)
		return p.receipt, nil
	}
	if err := e.enqueue(ctx, p); err != nil {
		p.settle(e, hub.Receipt{}, err)
		return p.receipt, p.err
	}
	select {
	case <-p.done:
		return p.receipt, p.err
	case <-ctx.Done():
		return hub.Receipt{}, ctx.Err() // the writer settles it
	}
}

// enqueue hands a publication to the writer, which answers all that it is handed.
func (e *Engine) enqueue(ctx context.Context, p *publication) error {
	e.entering.RLock()
	defer e.entering.RUnlock()
	if e.shut {
		return errClosed
	}
	select {
	case e.in <- p:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errClosed = fmt.Errorf("%w: it is closed", hub.ErrUnavailable)

// settle answers. It is called once.
func (p *publication) settle(e *Engine, r hub.Receipt, err error) {
	p.receipt, p.err = r, err
	if p.key != nil {
		p.key.Settle(r, err)
	}
	e.unpin(p.room)
	close(p.done)
}

// write is the writer: it ends when stopping is closed and nothing is left.
func (e *Engine) write() {
	defer e.writing.Done()
	gathered := make([]*publication, 0, maxGathered)
	for {
		gathered = gathered[:0]
		select {
		case f := <-e.control:
			f()
			continue
		case p := <-e.in:
			gathered = append(gathered, p)
		case <-e.stopping:
			select {
			case p := <-e.in:
				gathered = append(gathered, p)
			default:
				return
			}
		}
		size := len(gathered[0].message.Data)
	gather:
		for len(gathered) < maxGathered && size < maxFrame {
			select {
			case p := <-e.in:
				gathered = append(gathered, p)
				size += len(p.message.Data)
			default:
				break gather
			}
		}
		e.store(gathered)
	}
}

// store brings publications into the journal, delivers and answers. Whatever happens, it answers all of them.
func (e *Engine) store(gathered []*publication) {
	err := e.append(gathered, time.Now())
	if err != nil {
		for _, p := range gathered {
			p.settle(e, hub.Receipt{}, err)
		}
		return
	}
	for i, n := range e.batch[len(e.batch)-len(gathered):] {
		e.deliver(gathered[i], n)
	}
	if e.waiting.Load() > maxWaiting/8 {
		notify(e.hurry)
	}
}

// notify makes a channel of capacity 1 full.
func notify(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// append writes one frame with publications to the journal, and makes their entries.
func (e *Engine) append(gathered []*publication, now time.Time) (err error) {
	defer e.survive(func() {
		err = fmt.Errorf("%w: panic while publishing", hub.ErrOutcomeUnknown)
	})
	if err := e.mayWrite(now, len(gathered)); err != nil {
		return err
	}
	begin, last := len(e.batch), e.last
	e.frame = append(e.frame[:0], make([]byte, journal.Head)...)
	for _, p := range gathered {
		last = max(last+1, micros(now))
		n, err := e.entry(p, last, now)
		if err != nil {
			e.batch = e.batch[:begin]
			return fmt.Errorf("encoding a message: %w", err)
		}
		e.frame = appendEntry(e.frame, n)
		e.batch = append(e.batch, n)
	}
	e.last = last // also after an error: nobody knows what the disk has of it
	if err := e.journals[e.generation%2].Append(e.frame); err != nil {
		e.batch = e.batch[:begin]
		e.ill(writer, fmt.Errorf("writing the journal: %w", err))
		return full(err)
	}
	if e.always.Load() {
		if err := e.journals[e.generation%2].Sync(); err != nil {
			// The system may say so once only, so nothing can be answered from now on.
			e.batch = e.batch[:begin]
			e.broken(fmt.Errorf("syncing the journal: %w", err))
			return fmt.Errorf("%w: %w", hub.ErrOutcomeUnknown, err)
		}
	} else {
		e.unsync.Store(true)
	}
	for _, n := range e.batch[begin:] {
		e.waiting.Add(n.size)
	}
	e.newest.Store(last)
	e.ill(writer, nil)
	return nil
}

// mayWrite returns why nothing can be written now, after waiting for the follower if that helps. It sees to it that n offsets
// are reserved.
func (e *Engine) mayWrite(now time.Time, n int) error {
	for e.waiting.Load() > maxWaiting {
		if h := e.Health(); h.Err != nil {
			return full(h.Err)
		}
		notify(e.hurry)
		select {
		case f := <-e.control:
			f()
		case <-e.followed:
		}
	}
	if h := e.Health(); errors.Is(h.Err, errBroken) {
		return full(h.Err)
	}
	if max(e.last+uint64(n), micros(now)+uint64(n)) <= e.reserved.Load() {
		return nil
	}
	reserved := max(e.last, micros(now)) + ahead
	err := e.update(func(tx *bbolt.Tx) error {
		p, err := readProgress(tx)
		if err != nil {
			return err
		}
		p.Reserved = reserved
		return p.write(tx)
	})
	if err != nil {
		e.ill(writer, fmt.Errorf("reserving offsets: %w", err))
		return full(err)
	}
	e.reserve(reserved)
	return nil
}

// reserve notes up to where offsets are reserved, now that the database says so.
func (e *Engine) reserve(offset uint64) {
	for was := e.reserved.Load(); was < offset && !e.reserved.CompareAndSwap(was, offset); was = e.reserved.Load() {
	}
}

// entry returns the entry of a publication.
func (e *Engine) entry(p *publication, offset uint64, now time.Time) (*entry, error) {
	m := p.message
	m.Time = now
	n := &entry{room: p.room, generation: e.generation, offset: offset, expires: micros(m.Expires), message: m}
	if p.key != nil {
		n.receipt = &receipt{scope: p.scope, print: p.print, time: micros(now)}
	}
	if e.retention(p.room.name, p.room).Count > 0 {
		encoded, err := encodeBare(m)
		if err != nil {
			return nil, err
		}
		n.encoded = encoded
	}
	m.Position = hub.Position{Epoch: e.info.Epoch, Offset: offset}
	n.size = int64(len(n.encoded)+len(m.Data)) + overhead
	return n, nil
}

// deliver hands a message that is stored to those who read its room, and answers.
func (e *Engine) deliver(p *publication, n *entry) {
	err := fmt.Errorf("%w: panic while delivering", hub.ErrOutcomeUnknown)
	var answer hub.Receipt
	defer func() { p.settle(e, answer, err) }()
	defer e.survive(nil)
	r, m := p.room, p.message
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last = n.offset
	if n.encoded != nil {
		r.fresh = append(r.fresh, n)
	} else {
		n.message, r.lost, r.passing = nil, n.offset, n.generation
	}
	r.deliver(m)
	answer, err = hub.Receipt{Position: m.Position, Time: m.Time}, nil
}

// safely does something. A panic becomes an error.
func (e *Engine) safely(do func() error) (err error) {
	defer e.survive(func() { err = errors.New("panic in the engine") })
	return do()
}

// survive is deferred: it logs a panic, and calls then unless that is nil.
func (e *Engine) survive(then func()) {
	if v := recover(); v != nil {
		e.log.Error("panic in the engine", "file", e.path, "panic", v, "stack", string(debug.Stack()))
		if then != nil {
			then()
		}
	}
}

// What an entry of the journal begins with.
const (
	entryMessage = 1 << iota // a message follows
	entryReceipt             // a receipt follows
)

// appendEntry appends an entry as the journal has it: its kind, the offset, the room's name after its length, a
// receipt, and a message after its length.
func appendEntry(b []byte, n *entry) []byte {
	kind := byte(0)
	if n.encoded != nil {
		kind |= entryMessage
	}
	if n.receipt != nil {
		kind |= entryReceipt
	}
	b = append(b, kind)
	b = binary.BigEndian.AppendUint64(b, n.offset)
	b = binary.AppendUvarint(b, uint64(len(n.room.name)))
	b = append(b, n.room.name...)
	if r := n.receipt; r != nil {
		b = append(append(b, r.scope[:]...), r.print[:]...)
		b = binary.BigEndian.AppendUint64(b, r.time)
	}
	if n.encoded != nil {
		b = binary.AppendUvarint(b, uint64(len(n.encoded)))
		b = append(b, n.encoded...)
	}
	return b
}
