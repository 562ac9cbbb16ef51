// Package journal keeps frames of bytes in a file, one after the other, each with a checksum: what
// has been written is there after the death of the process, and what was lost with the power is
// noticed.
//
// A file holds one journal at a time, with a generation. It begins with a header: the magic text, the
// id of what the journal belongs to, the generation, the sum of the journal before, and a checksum. A frame is its length, the
// low half of the generation, the checksum of the frame before (of the header for the first), and its own checksum, each
// of 32 bits, little endian, then the payload. So a frame that an earlier journal has left in the file, or one of a
// write that failed, is never taken for one of this journal. What follows the last whole frame does not count.
package journal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
)

const (
	magic      = "rtjournl"
	headerSize = 8 + 16 + 8 + 4 + 4
	frameSize  = 16 // of a frame's head

	// chunk is how much of the disk is reserved at a time, in bytes, so that a full disk is noticed
	// before anything is written.
	chunk = 4 << 20
	// largest is what a file keeps when a new journal begins in it, in bytes.
	largest = 4 * chunk
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ID says what a journal belongs to.
type ID [16]byte

// File is a file with a journal. Its methods are not safe for concurrent use, but for Sync.
type File struct {
	file       *os.File
	generation uint64
	end        int64  // behind the last frame
	reserved   int64  // up to where the disk is reserved
	previous   uint32 // the checksum of the last frame
}

// Open opens a file, or makes it, with permissions for its owner alone. Whatever journal it holds is still there until
// Begin.
func Open(path string) (*File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &File{file: f}, nil
}

// Begin begins an empty journal in place of the one in the file. It is on the disk after the next Sync. after
// is the Sum of the journal before it, so that a reader knows whether it has all of that.
func (f *File) Begin(id ID, generation uint64, after uint32) error {
	info, err := f.file.Stat()
	if err != nil {
		return err
	}
	if info.Size() > largest {
		if err := f.file.Truncate(largest); err != nil {
			return err
		}
	}
	f.reserved = min(info.Size(), largest)
	f.generation, f.end = generation, 0
	header := appendHeader(nil, id, generation, after)
	if err := f.reserve(int64(len(header))); err != nil {
		return err
	}
	if _, err := f.file.WriteAt(header, 0); err != nil {
		return err
	}
	f.end = headerSize
	f.previous = binary.LittleEndian.Uint32(header[headerSize-4:])
	return nil
}

// Clear takes everything out of the file, for good. Begin must follow.
func (f *File) Clear() error { return errors.Join(f.file.Truncate(0), f.file.Sync()) }

func appendHeader(b []byte, id ID, generation uint64, after uint32) []byte {
	b = append(append(b, magic...), id[:]...)
	b = binary.LittleEndian.AppendUint64(b, generation)
	b = binary.LittleEndian.AppendUint32(b, after)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// Append writes a frame, which outlives the process from then on, and the machine after the next Sync.
// payload must have [Head] bytes of room in front, which Append fills. After an error nothing has been appended.
func (f *File) Append(payload []byte) error {
	if err := f.reserve(int64(len(payload))); err != nil {
		return err
	}
	h := payload[:frameSize]
	binary.LittleEndian.PutUint32(h, uint32(len(payload)-frameSize))
	binary.LittleEndian.PutUint32(h[4:], uint32(f.generation))
	binary.LittleEndian.PutUint32(h[8:], f.previous)
	sum := checksum(payload)
	binary.LittleEndian.PutUint32(h[12:], sum)
	if _, err := f.file.WriteAt(payload, f.end); err != nil {
		return err
	}
	f.end += int64(len(payload))
	f.previous = sum
	return nil
}

// Head is how many bytes of room Append needs in front of a payload.
const Head = frameSize

// checksum returns that of a frame with its head.
func checksum(frame []byte) uint32 {
	return crc32.Update(crc32.Checksum(frame[:12], castagnoli), castagnoli, frame[frameSize:])
}

// reserve reserves the disk for n more bytes.
func (f *File) reserve(n int64) error {
	for f.end+n > f.reserved {
		if err := allocate(f.file, f.reserved, chunk); err != nil {
			return fmt.Errorf("reserving %d bytes of %s: %w", chunk, f.file.Name(), err)
		}
		f.reserved += chunk
	}
	return nil
}

// Sum stands for everything in the journal.
func (f *File) Sum() uint32 { return f.previous }

// Size returns how long the journal is, in bytes.
func (f *File) Size() int64 { return f.end }

// Sync returns when everything that was appended before the call is on the disk. It is safe for concurrent use
// with the other methods, but for Close.
func (f *File) Sync() error { return syncData(f.file) }

// Close closes the file.
func (f *File) Close() error { return f.file.Close() }

// ErrNone is returned by Read for a file that is not there, or holds no journal of the id.
var ErrNone = errors.New("no journal")

// Contents is what a file holds.
type Contents struct {
	Generation uint64
	After, Sum uint32   // what Begin was given, and what File.Sum would be
	Frames     [][]byte // the payloads; they share memory
	// Damaged says that something follows the last frame that can be read which is a frame of this journal, too: it is
	// not the end of what was written.
	Damaged bool
}

// Read reads a whole journal. It returns [ErrNone] where there is none.
func Read(path string, id ID) (c Contents, err error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return c, ErrNone
	}
	if err != nil {
		return c, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	b, err := io.ReadAll(f)
	if err != nil {
		return c, err
	}
	if len(b) < headerSize {
		return c, ErrNone
	}
	c.Generation = binary.LittleEndian.Uint64(b[24:])
	c.After = binary.LittleEndian.Uint32(b[32:])
	if !bytes.Equal(b[:headerSize], appendHeader(nil, id, c.Generation, c.After)) {
		return Contents{}, ErrNone
	}
	previous := binary.LittleEndian.Uint32(b[headerSize-4:])
	at := headerSize
	for {
		frame, ok := frameAt(b[at:], c.Generation)
		if !ok || binary.LittleEndian.Uint32(frame[8:]) != previous {
			break
		}
		previous = binary.LittleEndian.Uint32(frame[12:])
		c.Frames = append(c.Frames, frame[frameSize:])
		at += len(frame)
	}
	c.Sum = previous
	c.Damaged = follows(b[at:], c.Generation)
	return c, nil
}

// frameAt returns the frame at the beginning of b, with its head.
func frameAt(b []byte, generation uint64) (frame []byte, ok bool) {
	if len(b) <= frameSize || binary.LittleEndian.Uint32(b[4:]) != uint32(generation) {
		return nil, false
	}
	n := binary.LittleEndian.Uint32(b)
	if n == 0 || int64(n) > int64(len(b)-frameSize) {
		return nil, false
	}
	frame = b[:frameSize+int(n)]
	return frame, checksum(frame) == binary.LittleEndian.Uint32(b[12:])
}

// follows reports whether a whole frame is anywhere in b.
func follows(b []byte, generation uint64) bool {
	mark := binary.LittleEndian.AppendUint32(nil, uint32(generation))
	for at := 0; ; at++ {
		i := bytes.Index(b[at:], mark)
		if i < 0 {
			return false
		}
		if at += i; at < 4 {
			continue
		}
		if _, ok := frameAt(b[at-4:], generation); ok {
			return true
		}
	}
}
