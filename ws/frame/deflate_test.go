package frame_test

import (
	"bytes"
	"compress/flate"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/ws/frame"
)

// deflated returns a payload as a client compresses it.
func deflated(p string) string { return string(frame.Compress(nil, []byte(p))) }

// compressed are cases with permessage-deflate agreed on. The first ones are
// the examples of RFC 7692, section 7.2.3.
func compressed() []rfc {
	const hello = "\xf2\x48\xcd\xc9\xc9\x07\x00"
	long := strings.Repeat("compressible ", 300)
	return []rfc{
		{"one block", masked(fin|rsv1|text, hello), []string{"text:Hello", "eof"}},
		{"fragments", frames(masked(rsv1|text, hello[:3]), masked(fin|cont, hello[3:])), []string{"text:Hello", "eof"}},
		{"a stored block", masked(fin|rsv1|text, "\x00\x05\x00\xfa\xffHello\x00"), []string{"text:Hello", "eof"}},
		{"a final block", masked(fin|rsv1|text, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), []string{"text:Hello", "eof"}},
		{"two blocks", masked(fin|rsv1|text, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), []string{"text:Hello", "eof"}},
		{"empty", masked(fin|rsv1|text, "\x00"), []string{"text:", "eof"}},
		{"nothing at all", masked(fin|rsv1|text, ""), []string{"protocol"}},
		{"a plain one between", frames(masked(fin|rsv1|text, hello), masked(fin|text, "plain"), masked(fin|rsv1|bin, hello)), []string{"text:Hello", "text:plain", "binary:Hello", "eof"}},
		{"ping between fragments", frames(masked(rsv1|text, hello[:3]), masked(fin|ping, ""), masked(fin|cont, hello[3:])), []string{"ping:", "text:Hello", "eof"}},
		{"long", masked(fin|rsv1|text, deflated(long)), []string{"text:" + long, "eof"}},
		{"not UTF-8", masked(fin|rsv1|text, deflated("\xff")), []string{"text"}},
		{"binary that is not UTF-8", masked(fin|rsv1|bin, deflated("\xff")), []string{"binary:\xff", "eof"}},
		{"too large", masked(fin|rsv1|bin, deflated(strings.Repeat("*", limit+1))), []string{"large"}},
		{"just not too large", masked(fin|rsv1|bin, deflated(strings.Repeat("*", 4999))), []string{"binary:" + strings.Repeat("*", 4999), "eof"}},
		{"no deflate", masked(fin|rsv1|bin, "\xff\xff\xff"), []string{"protocol"}},
		{"context of another message", frames(masked(fin|rsv1|text, hello), masked(fin|rsv1|text, "\xf2\x00\x11\x00\x00")), []string{"text:Hello", "protocol"}},
		{"final blocks without end", masked(fin|rsv1|bin, strings.Repeat("\x03\x00", 100)), []string{"protocol"}},
		{"reserved bit of a continuation", frames(masked(rsv1|text, hello), masked(fin|rsv1|cont, "")), []string{"protocol"}},
		{"reserved bit of a ping", masked(fin|rsv1|ping, ""), []string{"protocol"}},
		{"another reserved bit", masked(fin|rsv1|0x20|text, hello), []string{"protocol"}},
	}
}

func TestRFC7692(t *testing.T) {
	for _, c := range compressed() {
		t.Run(c.name, func(t *testing.T) {
			for i := range len(c.send) {
				if got := run(t, &frame.Reader{Deflate: true}, cutAt(c.send, i), limit); !slices.Equal(got, c.want) {
					t.Fatalf("cut at %d: got %.200q, want %.200q", i, got, c.want)
				}
			}
		})
	}
}

func TestCompress(t *testing.T) {
	noise := make([]byte, limit)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	for _, p := range [][]byte{nil, []byte("x"), []byte(strings.Repeat("json ", 100)), noise} {
		// Twice, for the pools.
		for range 2 {
			b := frame.Compress([]byte("before"), p)
			b, ok := bytes.CutPrefix(b, []byte("before"))
			if !ok {
				t.Fatal("what was there is gone")
			}
			got := run(t, &frame.Reader{Deflate: true}, every(masked(fin|rsv1|bin, string(b)), 1000), limit)
			if want := []string{"binary:" + string(p), "eof"}; !slices.Equal(got, want) {
				t.Fatalf("%d bytes: got %.50q", len(p), got)
			}
		}
	}
}

// Data that can't be compressed may come in short stored blocks, and is within the
// limit nevertheless.
func TestIncompressible(t *testing.T) {
	var p []byte
	for range limit / 128 {
		p = append(p, 0, 128, 0, 127, 255)
		p = append(p, make([]byte, 128)...)
	}
	p = append(p, 0)
	got := run(t, &frame.Reader{Deflate: true}, &source{pieces: [][]byte{masked(fin|rsv1|bin, string(p))}}, limit)
	if want := []string{"binary:" + strings.Repeat("\x00", limit), "eof"}; !slices.Equal(got, want) {
		t.Errorf("got %.50q", got)
	}
}

// A bomb ends at the limit, and costs no more memory than a message.
func TestBomb(t *testing.T) {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	block := make([]byte, 1<<20)
	for range 8 { // makes 8 MiB of 8 kB
		_, _ = w.Write(block)
	}
	_ = w.Flush()
	sent := masked(fin|rsv1|bin, b.String())
	if len(sent) > limit {
		t.Fatalf("%d bytes", len(sent))
	}
	read := func() {
		s := &source{pieces: [][]byte{sent}}
		if got := run(t, &frame.Reader{Deflate: true}, s, limit); !slices.Equal(got, []string{"large"}) {
			t.Fatalf("got %.50q", got)
		}
	}
	read() // fills the pools
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	read()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 6*limit {
		t.Errorf("%d bytes are allocated", n)
	}
}

func BenchmarkInflate(b *testing.B) {
	p := strings.Repeat(`{"user":"someone","text":"hello"},`, 30)
	sent := masked(fin|rsv1|text, deflated(p))
	r := &frame.Reader{Deflate: true}
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		if e, err := r.Next(func(p []byte) (int, error) { return copy(p, sent), nil }, large); err != nil || len(e.Data) != len(p) {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompress(b *testing.B) {
	p := []byte(strings.Repeat(`{"user":"someone","text":"hello"},`, 30))
	var out []byte
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		out = frame.Compress(out[:0], p)
	}
}
