package frame_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"unsafe"

	"github.com/caddy-realtime/realtime/ws/frame"
)

func large() int64 { return limit }

// An idle Reader is small, holds nothing and allocates nothing.
func TestIdle(t *testing.T) {
	r := new(frame.Reader)
	if n := unsafe.Sizeof(*r); n > 120 {
		t.Errorf("%d bytes", n)
	}
	idle := func([]byte) (int, error) { return 0, errIdle }
	next := func() {
		if _, err := r.Next(idle, large); !errors.Is(err, errIdle) || !r.AtBorder() || r.Held() != 0 {
			t.Fatalf("got %v, border %v, %d bytes", err, r.AtBorder(), r.Held())
		}
	}
	next()
	if !raceEnabled { // the race detector empties pools
		if n := testing.AllocsPerRun(1000, next); n != 0 {
			t.Errorf("%v allocations", n)
		}
	}
	s := &source{pieces: [][]byte{masked(fin|text, "hello")}}
	if e, err := r.Next(s.read, large); err != nil || told(e) != "text:hello" || !r.AtBorder() || r.Held() != 0 {
		t.Errorf("got %v, %v, border %v, %d bytes", e, err, r.AtBorder(), r.Held())
	}
	next()
}

// The border is where nothing is begun, as seen from within read and after Next.
func TestAtBorder(t *testing.T) {
	var all []byte
	borders := map[int]bool{0: true}
	for _, f := range [][]byte{
		masked(fin|text, "a"), masked(fin|ping, "b"), masked(fin|text, ""), masked(text, "c"), nil,
		masked(fin|ping, "d"), nil, masked(cont, ""), nil, masked(fin|cont, "e"), masked(fin|closes, ""),
	} {
		if f == nil {
			delete(borders, len(all)) // within a message
			continue
		}
		all = append(all, f...)
		borders[len(all)] = true
	}
	r, given := new(frame.Reader), 0
	read := func(p []byte) (int, error) {
		if r.AtBorder() != borders[given] {
			t.Errorf("before byte %d: border %v, want %v", given, r.AtBorder(), borders[given])
		}
		n := copy(p[:1], all[given:])
		given += n
		return n, nil
	}
	for {
		if _, err := r.Next(read, large); err != nil {
			break
		}
		if r.AtBorder() != borders[given] {
			t.Errorf("after byte %d: border %v, want %v", given, r.AtBorder(), borders[given])
		}
	}
	if given != len(all) {
		t.Errorf("%d bytes of %d were read", given, len(all))
	}
}

// Leftover bytes are used before anything is read; while there are some, the reader is
// not at a border.
func TestLeftOver(t *testing.T) {
	r := new(frame.Reader)
	s := &source{pieces: [][]byte{frames(masked(fin|text, "a"), masked(fin|text, "b"), masked(fin|text, "c"))}}
	for i, want := range []string{"text:a", "text:b", "text:c"} {
		e, err := r.Next(s.read, large)
		if err != nil || told(e) != want || s.reads != 1 {
			t.Fatalf("got %v, %v after %d reads", e, err, s.reads)
		}
		if r.AtBorder() != (i == 2) {
			t.Errorf("after %s: border %v", want, r.AtBorder())
		}
	}
}

// Bytes that came early are used before anything is read, however many they are.
func TestFeed(t *testing.T) {
	r := new(frame.Reader)
	r.Feed(nil)
	long := strings.Repeat("x", 20_000)
	early := frames(masked(fin|text, "a"), masked(fin|bin, long), masked(fin|text, "b"))
	p := bytes.Clone(early[:len(early)-1])
	r.Feed(p)
	clear(p) // no reference is kept
	s := &source{pieces: [][]byte{early[len(early)-1:]}}
	for _, want := range []string{"text:a", "binary:" + long, "text:b"} {
		if e, err := r.Next(s.read, large); err != nil || told(e) != want {
			t.Fatalf("got %.50v, %v", e, err)
		}
	}
	if s.reads != 1 || !r.AtBorder() || r.Held() != 0 {
		t.Errorf("%d reads, border %v, %d bytes", s.reads, r.AtBorder(), r.Held())
	}
}

// Memory follows what comes, not what is announced, and what is returned has
// little room behind it.
func TestMemory(t *testing.T) {
	const big = 1 << 20
	for _, part := range []int{0, 1, 100, 5000, 100_000} {
		r := new(frame.Reader)
		send := append(header(fin|bin, 0x80, big), make([]byte, 4+part)...)
		s := &source{pieces: [][]byte{send}}
		if _, err := r.Next(s.read, func() int64 { return big }); !errors.Is(err, errIdle) {
			t.Fatal(err)
		}
		if most := 5*part + 8192; r.Held() > most {
			t.Errorf("%d bytes have come and %d are held", part, r.Held())
		}
	}
	many := masked(bin, "")
	for range 3000 {
		many = append(many, masked(cont, "ten bytes.")...)
	}
	many = append(many, masked(fin|cont, "")...)
	e, err := new(frame.Reader).Next((&source{pieces: [][]byte{many}}).read, large)
	if err != nil || len(e.Data) != 30_000 || cap(e.Data) > 34_000 {
		t.Errorf("%d bytes with room for %d, %v", len(e.Data), cap(e.Data), err)
	}
}

// A message belongs to the caller: what is read later doesn't change it.
func TestOwnership(t *testing.T) {
	r := new(frame.Reader)
	s := every(frames(masked(fin|ping, "first"), masked(fin|bin, "second"), masked(fin|ping, "third"), masked(fin|closes, closing(1000, "x"))), 5)
	var events []frame.Event
	for {
		e, err := r.Next(s.read, large)
		if err == nil {
			events = append(events, e)
		} else if !errors.Is(err, errIdle) {
			break
		}
	}
	for i, want := range []string{"ping:first", "binary:second", "ping:third", "close:1000:x"} {
		if told(events[i]) != want {
			t.Errorf("event %d is %q, want %q", i, told(events[i]), want)
		}
	}
	if string(events[3].Data) != closing(1000, "x") {
		t.Errorf("closing payload %q", events[3].Data)
	}
}

// Errors are final, and a failing read is not.
func TestErrors(t *testing.T) {
	r := new(frame.Reader)
	s := &source{pieces: [][]byte{masked(fin|text, "\xff"), masked(fin|text, "late")}}
	for range 3 {
		if _, err := r.Next(s.read, large); !errors.Is(err, frame.ErrInvalidText) {
			t.Errorf("got %v", err)
		}
	}
	r.Feed(masked(fin|text, "late"))
	if r.Held() != 0 {
		t.Errorf("%d bytes are held", r.Held())
	}

	own := errors.New("own")
	r = new(frame.Reader)
	fails := func([]byte) (int, error) { return 0, own }
	one := &source{pieces: [][]byte{masked(fin|text, "x")[:3]}}
	for range 3 {
		if _, err := r.Next(fails, large); !errors.Is(err, own) {
			t.Errorf("got %v", err)
		}
	}
	_, _ = r.Next(one.read, large)
	if _, err := r.Next(fails, large); !errors.Is(err, own) || r.AtBorder() {
		t.Errorf("within a frame: %v, border %v", err, r.AtBorder())
	}
	rest := &source{pieces: [][]byte{masked(fin|text, "x")[3:]}}
	if e, err := r.Next(rest.read, large); err != nil || told(e) != "text:x" {
		t.Errorf("got %v, %v", e, err)
	}
	if _, err := r.Next(func([]byte) (int, error) { return 0, nil }, large); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("got %v", err)
	}
	both := func(p []byte) (int, error) { return copy(p, masked(fin|text, "y")), io.EOF }
	if e, err := r.Next(both, large); err != nil || told(e) != "text:y" {
		t.Errorf("got %v, %v", e, err)
	}
}

// The limit is asked for anew with each frame.
func TestLimitChanges(t *testing.T) {
	now := int64(10)
	r := new(frame.Reader)
	s := &source{pieces: [][]byte{masked(bin, "12345"), masked(fin|cont, "67890"), masked(fin|bin, "123")}}
	next := func() (frame.Event, error) { return r.Next(s.read, func() int64 { return now }) }
	_, _ = next()
	now = 9
	if _, err := next(); !errors.Is(err, frame.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	now = -1
	r, s = new(frame.Reader), &source{pieces: [][]byte{masked(fin|bin, ""), masked(fin|bin, "1")}}
	if e, err := next(); err != nil || told(e) != "binary:" {
		t.Errorf("got %v, %v", e, err)
	}
	_, _ = next()
	if _, err := next(); !errors.Is(err, frame.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestUnmask(t *testing.T) {
	for n := range 100 {
		for cut := range n + 1 {
			p := make([]byte, n)
			for i := range p {
				p[i] = byte(rand.Uint32())
			}
			want := bytes.Clone(p)
			key := [4]byte{1, 2, 4, 8}
			for i := range want {
				want[i] ^= key[i%4]
			}
			next := frame.Unmask(p[:cut], 0x08040201)
			frame.Unmask(p[cut:], next)
			if !bytes.Equal(p, want) {
				t.Fatalf("%d bytes, cut at %d", n, cut)
			}
		}
	}
}

func TestAppend(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"empty", frame.AppendFrame(nil, frame.Ping, nil), "\x89\x00"},
		{"after something", frame.AppendFrame([]byte("x"), frame.Text, []byte("hi")), "x\x81\x02hi"},
		{"compressed", frame.AppendFrame(nil, frame.Binary|frame.RSV1, []byte("z")), "\xc2\x01z"},
		{"126", frame.AppendFrame(nil, frame.Text, make([]byte, 126))[:4], "\x81\x7e\x00\x7e"},
		{"65536", frame.AppendFrame(nil, frame.Text, make([]byte, 65536))[:10], "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00"},
		{"close", frame.AppendClose(nil, 1001, "bye"), "\x88\x05\x03\xe9bye"},
	}
	for _, test := range tests {
		if string(test.got) != test.want {
			t.Errorf("%s: %q, want %q", test.name, test.got, test.want)
		}
	}
}

// FuzzReader checks that any input, in any pieces, is read the same, and costs no more
// memory than allowed.
func FuzzReader(f *testing.F) {
	for _, cases := range [][]rfc{framing(), pings(), fragments(), texts(), closings(), compressed()} {
		for _, c := range cases {
			if len(c.send) < 1000 {
				f.Add(c.send, uint64(1), c.send[0]&rsv1 != 0)
			}
		}
	}
	f.Fuzz(func(t *testing.T, sent []byte, seed uint64, deflate bool) {
		const limit = 5000
		want := run(t, &frame.Reader{Deflate: deflate}, &source{pieces: [][]byte{sent}}, limit)
		var pieces [][]byte
		rng := rand.New(rand.NewPCG(seed, 0))
		for rest := sent; len(rest) > 0; {
			n := 1 + rng.IntN(min(len(rest), 1+int(seed%300)))
			pieces, rest = append(pieces, rest[:n]), rest[n:]
		}
		for _, s := range []*source{{pieces: pieces}, every(sent, 1)} {
			if got := run(t, &frame.Reader{Deflate: deflate}, s, limit); strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("in pieces %q, as a whole %q", got, want)
			}
		}
	})
}

func benchmark(b *testing.B, sent []byte, size int) {
	r := new(frame.Reader)
	var rest []byte
	read := func(p []byte) (int, error) {
		if len(rest) == 0 {
			return 0, errIdle
		}
		n := copy(p, rest)
		rest = rest[n:]
		return n, nil
	}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		rest = sent
		if e, err := r.Next(read, large); err != nil || len(e.Data) != size {
			b.Fatal(err)
		}
		if _, err := r.Next(read, large); !errors.Is(err, errIdle) {
			b.Fatal(err)
		}
	}
}

func BenchmarkSmall(b *testing.B) { benchmark(b, masked(fin|text, strings.Repeat("x", 64)), 64) }

func BenchmarkLarge(b *testing.B) {
	benchmark(b, masked(fin|text, strings.Repeat("x", 64<<10)), 64<<10)
}

func BenchmarkUnmask(b *testing.B) {
	p := make([]byte, 64<<10)
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		frame.Unmask(p, 0x01020304)
	}
}
