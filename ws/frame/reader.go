package frame

import (
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"sync"
	"unicode/utf8"
)

// Event is what a [Reader] has read: a whole message or a control frame.
type Event struct {
	Op     Op     // Text, Binary, Ping, Pong or Close
	Data   []byte // the payload, which belongs to the caller; nil if empty
	Code   uint16 // of Close; NoStatus if there was none
	Reason string // of Close; UTF-8
}

// Reader reads the messages and control frames that one client sends. The zero value
// is ready for use and must not be copied after that.
//
// Call [Reader.Next] in a loop, with a function that reads from the connection. When
// that function fails Next returns its error, and may be called again later: so an
// idle connection can be parked, if [Reader.AtBorder] says so. Bytes that came with the
// handshake are passed to [Reader.Feed] before. All rules of RFC 6455 that concern
// one side are checked; the first broken one is final.
//
// A Reader holds some 80 bytes and, in the middle of a message, what has come of it.
// It is not safe for concurrent use.
type Reader struct {
	// Deflate says that permessage-deflate was agreed on, with
	// client_no_context_takeover (RFC 7692, section 7.1.1.2). It must be set
	// before the first Next.
	Deflate bool

	compressed bool    // the message is compressed
	last       bool    // the frame is the message's last one
	inFrame    bool    // the frame's header was read, its payload is not complete
	op         Op      // of the message; 0 between messages
	key        uint32  // unmasks the frame's next byte
	rest       int64   // bytes of the frame's payload that are still to come
	data       []byte  // the message's payload so far
	checked    int     // how many bytes of data are known to be whole runes
	in         *buffer // bytes read and not used yet; nil: none
	err        error   // final; nil: none yet
}

const (
	bufferSize = 4 << 10
	// direct is how many bytes of a payload must be missing for reading them straight
	// into place, without the buffer.
	direct = bufferSize
	// noProgress is how many times in a row read may return nothing.
	noProgress = 100
)

// buffer holds bytes that were read. A Reader has one only while Next works or bytes
// are left.
type buffer struct {
	b    []byte
	r, w int
}

func (b *buffer) bytes() []byte { return b.b[b.r:b.w] }

var buffers = sync.Pool{New: func() any { return &buffer{b: make([]byte, bufferSize)} }}

// Feed adds bytes that were read elsewhere, such as those that came with the
// handshake. It keeps no reference to p.
func (r *Reader) Feed(p []byte) {
	if len(p) == 0 || r.err != nil {
		return
	}
	if r.in != nil {
		p = slices.Concat(r.in.bytes(), p)
		r.in.r = r.in.w
		r.settle()
	}
	r.in = buffers.Get().(*buffer)
	if len(p) > len(r.in.b) {
		buffers.Put(r.in)
		r.in = &buffer{b: make([]byte, len(p))} // not for the pool
	}
	r.in.r, r.in.w = 0, copy(r.in.b, p)
}

// AtBorder reports whether everything that was read has been returned: no part of a
// frame and no fragment of a message is held. Only then may a connection be parked.
// The function read may call it.
func (r *Reader) AtBorder() bool {
	return r.op == 0 && (r.in == nil || r.in.r == r.in.w)
}

// InMessage reports whether a message has begun and was not returned yet. Control
// frames may come in its middle.
func (r *Reader) InMessage() bool { return r.op != 0 }

// Next returns the next message or control frame. It calls read as often as it needs
// to, with room for some KiB, and not at all if it holds a whole message or frame. It
// calls limit when a message begins, goes on, and is inflated: the message may have
// that many bytes.
//
// If read fails, Next returns its error as it is, except that io.EOF within a message
// becomes [io.ErrUnexpectedEOF]. Nothing is lost, and Next may be called again. An
// error that comes with bytes is ignored: read has to return it again.
//
// The other errors are [ErrProtocol], [ErrInvalidText] and [ErrTooLarge]. They are
// returned as soon as they can be known, and are final. So is io.EOF after a closing
// frame: what follows that frame is ignored (RFC 6455, section 1.4).
func (r *Reader) Next(read func(p []byte) (int, error), limit func() int64) (Event, error) {
	for r.err == nil {
		event, err := r.parse(limit)
		switch {
		case err != nil:
			r.end(err)
		case event.Op == Close:
			r.end(io.EOF)
			return event, nil
		case event.Op != 0:
			r.settle()
			return event, nil
		default:
			if err := r.fill(read, limit); err != nil {
				r.settle()
				if errors.Is(err, io.EOF) && !r.AtBorder() {
					err = io.ErrUnexpectedEOF
				}
				return Event{}, err
			}
		}
	}
	return Event{}, r.err
}

// settle gives the buffer back if it is empty.
func (r *Reader) settle() {
	if r.in == nil || r.in.r < r.in.w {
		return
	}
	if len(r.in.b) == bufferSize {
		r.in.r, r.in.w = 0, 0
		buffers.Put(r.in)
	}
	r.in = nil
}

// end drops everything. From now on Next returns err.
func (r *Reader) end(err error) {
	if r.in != nil {
		r.in.r = r.in.w
		r.settle()
	}
	r.op, r.data, r.err = 0, nil, err
}

// parse parses what has been read, up to the next event. Without an event, more bytes
// are needed.
func (r *Reader) parse(limit func() int64) (Event, error) {
	for {
		if r.inFrame {
			if err := r.payload(limit); err != nil {
				return Event{}, err
			}
			if r.rest > 0 {
				return Event{}, nil
			}
			r.inFrame = false
			if r.last {
				return r.message(limit)
			}
		}
		h, err := r.header(limit)
		if err != nil || h.size == 0 {
			return Event{}, err
		}
		if h.op >= Close {
			if int64(len(r.in.bytes())-h.size) < h.length {
				return Event{}, nil
			}
			return r.control(h)
		}
		r.in.r += h.size
		if h.op != Continuation {
			r.op, r.compressed = h.op, h.first&rsv1 != 0
		}
		r.last, r.inFrame, r.key, r.rest = h.first&fin != 0, true, h.key, h.length
	}
}

// header is the beginning of a frame (RFC 6455, section 5.2).
type header struct {
	first  byte
	op     Op
	length int64
	key    uint32
	size   int // bytes of the header itself; 0: it is not complete
}

// header parses the next frame's header, as far as that has been read, and leaves it
// in the buffer.
func (r *Reader) header(limit func() int64) (h header, err error) {
	if r.in == nil {
		return header{}, nil
	}
	b := r.in.bytes()
	if len(b) > 0 {
		h.first, h.op = b[0], Op(b[0]&0xf)
		if err := r.checkFirst(h); err != nil {
			return header{}, err
		}
	}
	if len(b) < 2 {
		return header{}, nil
	}
	if b[1]&masked == 0 {
		return header{}, broken("a frame without a mask") // section 5.1
	}
	size := 2
	switch short := b[1] &^ masked; {
	case short > MaxControl && h.op >= Close:
		return header{}, broken("a control frame of more than %d bytes", MaxControl)
	case short == 126:
		if size += 2; len(b) < size {
			return header{}, nil
		}
		if h.length = int64(binary.BigEndian.Uint16(b[2:])); h.length < 126 {
			return header{}, broken("a length of %d in two bytes", h.length)
		}
	case short == 127:
		if size += 8; len(b) < size {
			return header{}, nil
		}
		if h.length = int64(binary.BigEndian.Uint64(b[2:])); h.length <= 0xffff {
			return header{}, broken("a length of %d in eight bytes", h.length) // or a negative one
		}
	default:
		h.length = int64(short)
	}
	if h.op < Close && h.length > r.allowed(h, limit)-int64(len(r.data)) {
		return header{}, ErrTooLarge
	}
	if len(b) < size+4 {
		return header{}, nil
	}
	h.key, h.size = binary.LittleEndian.Uint32(b[size:]), size+4
	return h, nil
}

// checkFirst checks a frame's first byte.
func (r *Reader) checkFirst(h header) error {
	switch h.op {
	case Continuation:
		if r.op == 0 {
			return broken("a continuation of nothing") // section 5.4
		}
	case Text, Binary:
		if r.op != 0 {
			return broken("a message within a message")
		}
		if r.Deflate && h.first&reserved == rsv1 {
			return nil
		}
	case Close, Ping, Pong:
		if h.first&fin == 0 {
			return broken("a fragmented control frame") // section 5.5
		}
	default:
		return broken("reserved opcode %d", h.op)
	}
	if h.first&reserved != 0 {
		return broken("reserved bits %#x", h.first&reserved)
	}
	return nil
}

// allowed returns how many bytes of payload the frame's message may have. Compressed
// data may be somewhat longer than the message, by five bytes for each stored block
// (RFC 1951, section 3.2.4), and blocks may be short.
func (r *Reader) allowed(h header, limit func() int64) int64 {
	n := max(limit(), 0)
	if h.op == Continuation && r.compressed || h.op != Continuation && h.first&rsv1 != 0 {
		return saturate(n, n/16+64)
	}
	return n
}

// saturate adds two numbers that are not negative, without overflow.
func saturate(a, b int64) int64 {
	if sum := a + b; sum >= 0 {
		return sum
	}
	return 1<<63 - 1
}

// control returns a control frame, all of which has been read.
func (r *Reader) control(h header) (Event, error) {
	r.in.r += h.size
	p := r.in.b[r.in.r : r.in.r+int(h.length)]
	r.in.r += len(p)
	unmask(p, h.key)
	e := Event{Op: h.op}
	if len(p) > 0 {
		e.Data = slices.Clone(p)
	}
	if h.op != Close {
		return e, nil
	}
	switch len(p) {
	case 0:
		e.Code = NoStatus
		return e, nil
	case 1:
		return Event{}, broken("a closing frame of one byte") // section 5.5.1
	}
	e.Code, e.Reason = binary.BigEndian.Uint16(p), string(p[2:])
	if !mayClose(e.Code) {
		return Event{}, broken("close code %d", e.Code)
	}
	if !utf8.ValidString(e.Reason) {
		return Event{}, ErrInvalidText
	}
	return e, nil
}

// payload moves what the buffer has of the frame's payload to the message.
func (r *Reader) payload(limit func() int64) error {
	if r.in == nil {
		return nil
	}
	b := r.in.bytes()
	if int64(len(b)) > r.rest {
		b = b[:r.rest]
	}
	if len(b) == 0 {
		return nil
	}
	r.grow(len(b), limit)
	n := len(r.data)
	r.data = append(r.data, b...)
	r.in.r += len(b)
	return r.came(r.data[n:])
}

// came unmasks p, which has just been added to the data, and checks text as early as
// possible.
func (r *Reader) came(p []byte) error {
	r.key = unmask(p, r.key)
	r.rest -= int64(len(p))
	if r.op != Text || r.compressed {
		return nil
	}
	whole := len(r.data)
	if !r.last || r.rest > 0 {
		whole = wholeRunes(r.data, r.checked)
	}
	if !utf8.Valid(r.data[r.checked:whole]) {
		return ErrInvalidText
	}
	r.checked = whole
	return nil
}

// wholeRunes returns the index in p[from:] at which an incomplete last rune begins, or
// len(p) if there is none.
func wholeRunes(p []byte, from int) int {
	for i := len(p) - 1; i >= max(from, len(p)-utf8.UTFMax+1); i-- {
		if utf8.RuneStart(p[i]) {
			if !utf8.FullRune(p[i:]) {
				return i
			}
			break
		}
	}
	return len(p)
}

// grow makes room for n more bytes of the frame, at least. It makes room for as much as
// the frame announces, up to bufferSize plus four times the bytes that have come,
// because an announced length may be false.
func (r *Reader) grow(n int, limit func() int64) {
	need := int64(len(r.data) + n)
	if need <= int64(cap(r.data)) {
		return
	}
	announced := saturate(int64(len(r.data)), r.rest)
	if r.compressed {
		announced = saturate(announced, int64(len(tail))) // for inflate
	}
	want := min(4*int64(len(r.data))+bufferSize, announced)
	if r.rest == int64(n) {
		want = announced
	}
	if !r.last {
		want = max(want, min(2*need, limit())) // more fragments come
	}
	grown := make([]byte, len(r.data), max(need, want))
	copy(grown, r.data)
	r.data = grown
}

// message returns the message, which is complete.
func (r *Reader) message(limit func() int64) (Event, error) {
	e := Event{Op: r.op, Data: r.data}
	compressed, checked := r.compressed, r.checked
	r.op, r.compressed, r.data, r.checked = 0, false, nil, 0
	if compressed {
		var err error
		if e.Data, err = inflate(e.Data, max(limit(), 0)); err != nil {
			return Event{}, err
		}
		checked = 0
	}
	if e.Op == Text && !utf8.Valid(e.Data[checked:]) {
		return Event{}, ErrInvalidText // or a rune that an empty last frame leaves incomplete
	}
	e.Data = fit(e.Data)
	return e, nil
}

// fit returns p without much spare room, since messages may be kept.
func fit(p []byte) []byte {
	if cap(p)-len(p) > 64+len(p)/8 {
		return append(make([]byte, 0, len(p)), p...)
	}
	return p
}

// fill reads more.
func (r *Reader) fill(read func([]byte) (int, error), limit func() int64) error {
	if r.inFrame && r.rest >= direct && (r.in == nil || r.in.r == r.in.w) {
		return r.fillData(read, limit)
	}
	if r.in == nil {
		r.in = buffers.Get().(*buffer)
	}
	in := r.in
	if in.r > 0 {
		// A header or a control frame is short, so this is cheap.
		in.r, in.w = 0, copy(in.b, in.bytes())
	}
	n, err := readSome(read, in.b[in.w:])
	in.w += n
	return err
}

// fillData reads a large payload straight into place.
func (r *Reader) fillData(read func([]byte) (int, error), limit func() int64) error {
	if cap(r.data)-len(r.data) < bufferSize {
		r.grow(int(min(bufferSize, r.rest)), limit)
	}
	room := r.data[len(r.data):cap(r.data)]
	if int64(len(room)) > r.rest {
		room = room[:r.rest]
	}
	n, err := readSome(read, room)
	if err != nil {
		return err
	}
	r.data = r.data[:len(r.data)+n]
	if err := r.came(r.data[len(r.data)-n:]); err != nil {
		r.end(err)
	}
	return nil
}

// readSome reads at least one byte, or returns an error.
func readSome(read func([]byte) (int, error), p []byte) (int, error) {
	for range noProgress {
		n, err := read(p)
		if n > 0 {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	return 0, io.ErrNoProgress
}
