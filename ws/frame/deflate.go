package frame

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"sync"
)

// tail is appended to every message before inflating: the empty block that the sender
// has cut off (RFC 7692, section 7.2.2), and a final block, which the inflater needs.
const tail = "\x00\x00\xff\xff" + "\x01\x00\x00\xff\xff"

// cut is how many bytes Compress cuts off.
const cut = 4

// maxFinal is how many blocks of one message may be marked as final. No sender needs
// more than one, and each costs as much as a message.
const maxFinal = 16

// minInflated is how many bytes are allocated for an inflated message at first.
const minInflated = 512

// inflater is a decompressor that is reused, some 44 kB.
type inflater struct {
	src bytes.Reader
	r   io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	f := new(inflater)
	f.r = flate.NewReader(&f.src)
	return f
}}

// inflate returns p inflated, or an error if that has more than limit bytes; it never
// holds more than limit+1. It may write to p's spare room.
func inflate(p []byte, limit int64) ([]byte, error) {
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	end := len(p)
	p = append(p, tail...)
	f.src.Reset(p)
	defer f.src.Reset(nil) // the pool must not hold a message
	out := make([]byte, 0, min(max(minInflated, 4*int64(end)), saturate(limit, 1)))
	for range maxFinal {
		if err := f.r.(flate.Resetter).Reset(&f.src, nil); err != nil {
			return nil, fmt.Errorf("inflating: %w", err)
		}
		var err error
		if out, err = f.all(out, limit); err != nil {
			return nil, err
		}
		// A final block does not end the message, although Go's inflater stops there:
		// what follows belongs to it (RFC 7692, section 7.2.3.4).
		if f.src.Len() == 0 {
			return out, nil
		}
	}
	return nil, broken("inflating: more than %d final blocks", maxFinal)
}

// all appends what is inflated up to a final block.
func (f *inflater) all(out []byte, limit int64) ([]byte, error) {
	for {
		if len(out) == cap(out) {
			more := make([]byte, len(out), min(2*int64(cap(out)), saturate(limit, 1)))
			copy(more, out)
			out = more
		}
		n, err := f.r.Read(out[len(out):cap(out)])
		out = out[:len(out)+n]
		switch {
		case int64(len(out)) > limit:
			return nil, fmt.Errorf("%w when inflated", ErrTooLarge)
		case errors.Is(err, io.EOF):
			return out, nil
		case err != nil:
			return nil, broken("inflating: %v", err)
		}
	}
}

// deflater is a compressor that is reused, some 1.2 MB.
type deflater struct {
	out appender
	w   *flate.Writer
}

type appender struct{ b []byte }

func (a *appender) Write(p []byte) (int, error) {
	a.b = append(a.b, p...)
	return len(p), nil
}

var deflaters = sync.Pool{New: func() any {
	f := new(deflater)
	f.w, _ = flate.NewWriter(&f.out, flate.BestSpeed) // the level is valid
	return f
}}

// Compress appends the deflated payload of a message, which is to be sent with
// [RSV1]. It uses level 1 and no context of other messages, so that one result serves
// all peers that have agreed on permessage-deflate (RFC 7692, section 7.2.1).
func Compress(dst, payload []byte) []byte {
	f := deflaters.Get().(*deflater)
	defer deflaters.Put(f)
	f.out.b = dst
	f.w.Reset(&f.out)
	// Writing to memory does not fail.
	_, _ = f.w.Write(payload)
	_ = f.w.Flush()
	dst, f.out.b = f.out.b[:len(f.out.b)-cut], nil
	return dst
}
