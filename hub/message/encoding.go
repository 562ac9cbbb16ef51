package message

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"time"
)

// The form in which engines store a message, the same for all of them: a version byte,
// fields in the order of their numbers, and a checksum (CRC-32C, big-endian) of all
// that is before it. A field is a uvarint of twice its number, then a uvarint; or of
// twice its number plus one, then the length as a uvarint, and that number of bytes. A
// field that is zero or empty is left out. A reader skips numbers that it does not
// know, so a new field needs no new version. A new version is read for one minor
// release before it is written, since two nodes run two releases during an update.
//
// Numbers are never used for anything else. Reserved are 14 (the offset of the room's
// message before), 15 (the fingerprint of a publication with a key), 16 (the offset of the
// message that an edit replaces) and 17 (the item that a message is about).
const (
	encodingVersion = 1

	fieldOffset    = 1
	fieldTime      = 2 // microseconds since 1970, UTC
	fieldExpires   = 3 // likewise
	fieldKind      = 4
	fieldEpoch     = 5
	fieldRoom      = 6
	fieldEvent     = 7
	fieldType      = 8
	fieldUserID    = 9
	fieldUserName  = 10
	fieldPublisher = 11
	fieldKey       = 12
	fieldData      = 13
)

// ErrEncoding is returned by [Message.UnmarshalBinary], wrapped with what is wrong.
var ErrEncoding = errors.New("not an encoded message")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// AppendBinary implements encoding.BinaryAppender: it appends the message in the form
// that engines store. An engine that has the Room, the Epoch or the Offset elsewhere
// encodes a copy without them. Times are cut to microseconds. It returns an error for
// presence frames and other signals, which are stored nowhere.
func (m *Message) AppendBinary(b []byte) ([]byte, error) {
	if m.Signal || m.Presence != nil {
		return b, errors.New("a signal is not stored")
	}
	begin := len(b)
	b = append(b, encodingVersion)
	b = appendNumber(b, fieldOffset, m.Offset)
	b = appendNumber(b, fieldTime, microseconds(m.Time))
	b = appendNumber(b, fieldExpires, microseconds(m.Expires))
	b = appendNumber(b, fieldKind, uint64(m.Kind))
	b = appendText(b, fieldEpoch, m.Epoch)
	b = appendText(b, fieldRoom, m.Room)
	b = appendText(b, fieldEvent, m.Event)
	b = appendText(b, fieldType, m.Type)
	if m.From != nil {
		b = appendText(b, fieldUserID, m.From.ID)
		b = appendText(b, fieldUserName, m.From.Name)
	}
	b = appendText(b, fieldPublisher, m.Publisher)
	b = appendText(b, fieldKey, m.Key)
	b = appendText(b, fieldData, m.Data)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[begin:], castagnoli)), nil
}

func appendNumber(b []byte, field, n uint64) []byte {
	if n == 0 {
		return b
	}
	return binary.AppendUvarint(binary.AppendUvarint(b, 2*field), n)
}

func appendText[T string | []byte](b []byte, field uint64, text T) []byte {
	if len(text) == 0 {
		return b
	}
	b = binary.AppendUvarint(b, 2*field+1)
	b = binary.AppendUvarint(b, uint64(len(text)))
	return append(b, text...)
}

// microseconds returns a time as it is stored; 0 for the zero time, and for one before
// 1970, which nothing is published at.
func microseconds(t time.Time) uint64 {
	if t.IsZero() {
		return 0
	}
	return uint64(max(t.UnixMicro(), 0))
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler: it reads what AppendBinary has
// written, into a new Message, whose times have no monotonic reading. It keeps no
// reference to b, and returns an error that wraps
// [ErrEncoding] for anything that AppendBinary, of this or a later release, does not write.
func (m *Message) UnmarshalBinary(b []byte) error {
	const sum = 4
	if len(b) < 1+sum {
		return fmt.Errorf("%w: %d bytes are too few", ErrEncoding, len(b))
	}
	if b[0] != encodingVersion {
		return fmt.Errorf("%w: version %d is unknown", ErrEncoding, b[0])
	}
	rest := b[:len(b)-sum]
	if got, want := crc32.Checksum(rest, castagnoli), binary.BigEndian.Uint32(b[len(b)-sum:]); got != want {
		return fmt.Errorf("%w: the checksum is %08x, want %08x", ErrEncoding, got, want)
	}
	rest = rest[1:]
	for last := uint64(0); len(rest) > 0; {
		tag, n := binary.Uvarint(rest)
		if n <= 0 || tag/2 <= last {
			return fmt.Errorf("%w: no field follows field %d", ErrEncoding, last)
		}
		last, rest = tag/2, rest[n:]
		value, n := binary.Uvarint(rest)
		if n <= 0 {
			return fmt.Errorf("%w: field %d is cut off", ErrEncoding, last)
		}
		if value == 0 {
			return fmt.Errorf("%w: field %d is empty, and should be left out", ErrEncoding, last)
		}
		rest = rest[n:]
		if tag%2 == 0 {
			if !m.setNumber(last, value) {
				return fmt.Errorf("%w: field %d cannot be %d", ErrEncoding, last, value)
			}
			continue
		}
		if value > uint64(len(rest)) {
			return fmt.Errorf("%w: field %d is cut off", ErrEncoding, last)
		}
		m.setText(last, rest[:value])
		rest = rest[value:]
	}
	return nil
}

func (m *Message) setNumber(field, n uint64) (ok bool) {
	switch field {
	case fieldOffset:
		m.Offset = n
	case fieldTime:
		m.Time, ok = timeOf(n)
		return ok
	case fieldExpires:
		m.Expires, ok = timeOf(n)
		return ok
	case fieldKind:
		m.Kind = Kind(n)
		return n <= math.MaxUint8
	}
	return true
}

func timeOf(n uint64) (t time.Time, ok bool) {
	return time.UnixMicro(int64(n)).UTC(), n <= math.MaxInt64
}

func (m *Message) setText(field uint64, text []byte) {
	switch field {
	case fieldEpoch:
		m.Epoch = string(text)
	case fieldRoom:
		m.Room = string(text)
	case fieldEvent:
		m.Event = string(text)
	case fieldType:
		m.Type = string(text)
	case fieldUserID:
		m.From = &User{ID: string(text)}
	case fieldUserName:
		if m.From != nil { // there is no name without an id
			m.From.Name = string(text)
		}
	case fieldPublisher:
		m.Publisher = string(text)
	case fieldKey:
		m.Key = string(text)
	case fieldData:
		m.Data = bytes.Clone(text)
	}
}
