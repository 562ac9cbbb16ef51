package journal

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

var id = ID{1, 2, 3}

// written writes a journal and returns its path and where each frame ends.
func written(t *testing.T, generation uint64, payloads ...string) (path string, ends []int64) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "journal")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(id, generation, 7); err != nil {
		t.Fatal(err)
	}
	for _, p := range payloads {
		add(t, f, p)
		ends = append(ends, f.Size())
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		t.Fatal(err)
	}
	return path, ends
}

func add(t *testing.T, f *File, payload string) {
	t.Helper()
	if err := f.Append(append(make([]byte, Head), payload...)); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) Contents {
	t.Helper()
	c, err := Read(path, id)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRead(t *testing.T) {
	path, _ := written(t, 5, "one", "two", "three")
	c := read(t, path)
	if got := string(bytes.Join(c.Frames, []byte(" "))); got != "one two three" || c.Generation != 5 || c.After != 7 || c.Damaged {
		t.Errorf("%q, %+v", got, c)
	}
	if _, err := Read(path, ID{9}); !errors.Is(err, ErrNone) {
		t.Errorf("of another id: %v", err)
	}
	if _, err := Read(path+"x", id); !errors.Is(err, ErrNone) {
		t.Errorf("no file: %v", err)
	}
}

// Another journal in the same file shows nothing of the one before, whose frames are still behind its end.
func TestBeginAgain(t *testing.T) {
	path, _ := written(t, 1, "aaa", "bbb", "ccc")
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Begin(id, 3, 0); err != nil {
		t.Fatal(err)
	}
	if c := read(t, path); c.Generation != 3 || len(c.Frames) != 0 || c.Damaged {
		t.Errorf("at its beginning: %+v", c)
	}
	add(t, f, "xxx")
	sum := f.Sum()
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if c := read(t, path); len(c.Frames) != 1 || c.Damaged || c.Sum != sum {
		t.Errorf("with a frame: %+v, want the sum %d", c, sum)
	}
}

// Wherever a file ends, what is whole before that is read. Wherever a byte is another one, what precedes it is read, and
// the damage is noticed if more follows.
func TestDamage(t *testing.T) {
	path, ends := written(t, 1, "one", "two", "three")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	framesBefore := func(at int64) (n int) {
		for n < len(ends) && ends[n] <= at {
			n++
		}
		return n
	}
	for at := int64(headerSize); at < ends[2]; at++ {
		if err := os.WriteFile(path, whole[:at], 0o600); err != nil {
			t.Fatal(err)
		}
		if c := read(t, path); len(c.Frames) != framesBefore(at) || c.Damaged {
			t.Errorf("cut off at %d: %d frames, damaged: %v", at, len(c.Frames), c.Damaged)
		}
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		n := framesBefore(at)
		if c := read(t, path); len(c.Frames) != n || c.Damaged != (n < 2) {
			t.Errorf("damaged at %d: %d frames, want %d; damaged: %v", at, len(c.Frames), n, c.Damaged)
		}
	}
	for at := range headerSize {
		b := bytes.Clone(whole)
		b[at] ^= 0x40
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := Read(path, id); !errors.Is(err, ErrNone) {
			t.Errorf("damaged at %d: %v", at, err)
		}
	}
}

// A file does not stay as large as its largest journal was.
func TestShrinks(t *testing.T) {
	f, err := Open(filepath.Join(t.TempDir(), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	size := func() int64 {
		info, err := f.file.Stat()
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	if err := f.Begin(id, 1, 0); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		add(t, f, string(make([]byte, 1<<20)))
	}
	large := size()
	if err := f.Begin(id, 2, 0); err != nil {
		t.Fatal(err)
	}
	if small := size(); large < 40<<20 || small > largest {
		t.Errorf("%d bytes, then %d", large, small)
	}
}

func FuzzRead(f *testing.F) {
	header := appendHeader(nil, id, 1, 0)
	f.Add([]byte{})
	f.Add([]byte{3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3})
	path := filepath.Join(f.TempDir(), "journal")
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := os.WriteFile(path, append(bytes.Clone(header), b...), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Read(path, id)
		size := 0
		for _, frame := range c.Frames {
			size += len(frame) + Head
		}
		if err != nil || size > len(b) {
			t.Errorf("%d bytes of frames in %d, %v", size, len(b), err)
		}
	})
}
