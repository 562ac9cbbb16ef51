// Package frame is the server's side of WebSocket framing: RFC 6455, sections 5
// to 8, with permessage-deflate without context takeover (RFC 7692). It has no
// connection of its own: a [Reader] calls a function that reads, and frames to be
// written are appended to a buffer.
//
// A connection that owns no goroutine while it is idle reads like this:
//
//	for {
//		event, err := reader.Next(read, limit)
//		switch {
//		case err != nil && reader.AtBorder():
//			// nothing there: park
//		case err != nil:
//			// within a message: wait, but not for ever
//		case event.Op == frame.Text:
//			...
//		}
//	}
package frame

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Op is the opcode of a frame (RFC 6455, section 5.2).
type Op byte

// The opcodes of RFC 6455, section 11.8. The others are reserved.
const (
	Continuation Op = 0x0
	Text         Op = 0x1
	Binary       Op = 0x2
	Close        Op = 0x8
	Ping         Op = 0x9
	Pong         Op = 0xa
)

// RSV1 added to Text or Binary says that the message is compressed (RFC 7692,
// section 6).
const RSV1 Op = 0x40

// Bits of a frame's first two bytes.
const (
	fin      = 0x80
	reserved = 0x70
	rsv1     = 0x40
	masked   = 0x80
)

const (
	// MaxControl is the longest payload of a control frame, in bytes (RFC 6455,
	// section 5.5).
	MaxControl = 125
	// MaxHeader is the longest header that AppendFrame writes, in bytes.
	MaxHeader = 10
	// NoStatus is the code of a closing frame that has none (RFC 6455, section
	// 7.1.5). It is never sent.
	NoStatus = 1005
)

// The ways in which a peer breaks the rules. [Reader.Next] wraps them, to say what was
// wrong.
var (
	// ErrProtocol is any other broken rule: 1002 (RFC 6455, section 7.4.1).
	ErrProtocol = errors.New("protocol error")
	// ErrInvalidText is text, or the reason of a closing frame, that is not
	// UTF-8: 1007 (RFC 6455, section 8.1).
	ErrInvalidText = errors.New("text that is not UTF-8")
	// ErrTooLarge is a message over the limit: 1009.
	ErrTooLarge = errors.New("message too large")
)

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrProtocol}, args...)...)
}

// AppendFrame appends a whole message, or a control frame, unmasked as a server
// must (RFC 6455, section 5.1). The payload of a control frame must not exceed
// [MaxControl].
func AppendFrame(b []byte, op Op, payload []byte) []byte {
	b = append(b, fin|byte(op))
	switch n := len(payload); {
	case n <= 125:
		b = append(b, byte(n))
	case n <= 0xffff:
		b = append(b, 126)
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	default:
		b = append(b, 127)
		b = binary.BigEndian.AppendUint64(b, uint64(n))
	}
	return append(b, payload...)
}

// AppendClose appends a closing frame with a code and a reason, which is UTF-8
// of at most 123 bytes (RFC 6455, section 5.5.1).
func AppendClose(b []byte, code uint16, reason string) []byte {
	b = append(b, fin|byte(Close), byte(2+len(reason)))
	b = binary.BigEndian.AppendUint16(b, code)
	return append(b, reason...)
}

// mayClose reports whether a peer may send the code: those of RFC 6455, section
// 7.4.1, those registered since at IANA, and the ranges for libraries and
// applications (section 7.4.2).
func mayClose(code uint16) bool {
	switch {
	case code >= 3000 && code < 5000, code >= 1000 && code <= 1003, code >= 1007 && code <= 1014:
		return true
	}
	return false
}

// unmask removes the mask from p (RFC 6455, section 5.3) and returns the key for the
// byte after it. The key is little-endian.
func unmask(p []byte, key uint32) uint32 {
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 32 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		binary.LittleEndian.PutUint64(p[8:], binary.LittleEndian.Uint64(p[8:])^wide)
		binary.LittleEndian.PutUint64(p[16:], binary.LittleEndian.Uint64(p[16:])^wide)
		binary.LittleEndian.PutUint64(p[24:], binary.LittleEndian.Uint64(p[24:])^wide)
		p = p[32:]
	}
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= byte(key)
		key = key>>8 | key<<24
	}
	return key
}
