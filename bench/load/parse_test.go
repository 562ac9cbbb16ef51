package load

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

const testSize = 300

// wire returns messages as a server sends them, after what comes before them,
// and a stream that is to read them.
func wire(kind Kind, numbers ...uint64) (string, stream) {
	s := stream{kind: kind}
	var b strings.Builder
	chunk := func(text string) { fmt.Fprintf(&b, "%x\r\n%s\r\n", len(text), text) }
	switch kind {
	case Events:
		s.chunked = true
		chunk("retry: 700\nid: k.1\n\n")
		chunk(":\n\n")
	case Lines:
		s.chunked = true
		chunk(`{"op":"ready","conn":"a","cursor":"k.1"}` + "\n")
		chunk("\n")
	case SocketIO:
		b.WriteString("\x81\x012")
	default:
		b.WriteString("\x89\x00")
	}
	for _, n := range numbers {
		data := string(AppendMessage(nil, n, 0, testSize))
		switch kind {
		case Events:
			// One event in two chunks.
			event := fmt.Sprintf("id: k.%d\ndata: %s\n\n", n, data)
			chunk(event[:3])
			chunk(event[3:])
		case Lines:
			chunk(fmt.Sprintf(`{"id":"k.%d","room":"a","data":"%s","at":"2026-11-21T07:00:00.123Z"}`, n, data) + "\n")
		case SocketIO:
			data = socketIOBefore + data + socketIOAfter
			fallthrough
		default:
			b.Write([]byte{0x81, 126, byte(len(data) >> 8), byte(len(data))})
			b.WriteString(data)
		}
	}
	return b.String(), s
}

var kinds = []Kind{WebSocket, Events, Lines, SocketIO}

func TestSplitAtEveryByte(t *testing.T) {
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			text, begin := wire(kind, 7, 8, 9)
			for cut := range len(text) + 1 {
				s, sum := begin, tally{size: testSize}
				for _, part := range []string{text[:cut], text[cut:]} {
					if err := s.feed([]byte(part), &sum); err != nil {
						t.Fatalf("cut at %d: %v", cut, err)
					}
				}
				if sum.delivered != 3 || s.next != 10 || len(s.rest) != 0 {
					t.Fatalf("cut at %d: %d delivered, %d is due, %q is left", cut, sum.delivered, s.next, s.rest)
				}
			}
		})
	}
}

func TestByteByByte(t *testing.T) {
	for _, kind := range kinds {
		text, s := wire(kind, 1, 2)
		var sum tally
		for i := range len(text) {
			if err := s.feed([]byte{text[i]}, &sum); err != nil {
				t.Fatalf("%v at %d: %v", kind, i, err)
			}
		}
		if sum.delivered != 2 {
			t.Errorf("%v: %d delivered", kind, sum.delivered)
		}
		if (kind == WebSocket || kind == SocketIO) != (len(sum.replies) > 0) {
			t.Errorf("%v: replied %q", kind, sum.replies)
		}
	}
}

func TestFaults(t *testing.T) {
	for _, kind := range kinds {
		for _, test := range []struct {
			name    string
			numbers []uint64
			change  func(string) string
			want    error
		}{
			{"lost", []uint64{3, 5}, nil, ErrLost},
			{"repeated", []uint64{3, 4, 4}, nil, ErrRepeated},
			{"torn text", []uint64{3, 4}, func(s string) string {
				i := strings.LastIndex(s, "klm")
				return s[:i] + "KLM" + s[i+3:]
			}, ErrTorn},
			{"torn number", []uint64{3, 4}, func(s string) string {
				i := strings.LastIndex(s, "000000000004")
				return s[:i] + "a" + s[i+1:]
			}, ErrTorn},
		} {
			t.Run(kind.String()+" "+test.name, func(t *testing.T) {
				text, s := wire(kind, test.numbers...)
				if test.change != nil {
					text = test.change(text)
				}
				err := s.feed([]byte(text), &tally{size: testSize})
				if !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			})
		}
	}
}

func TestEnds(t *testing.T) {
	for _, test := range []struct {
		kind Kind
		text string
	}{
		{WebSocket, "\x88\x02\x03\xf4"},
		{Events, "event: bye\ndata: {}\n\n"},
		{Events, "event: gap\ndata: {}\n\n"},
		{Lines, `{"op":"bye","status":503}` + "\n"},
	} {
		s := stream{kind: test.kind}
		if err := s.feed([]byte(test.text), &tally{}); !errors.Is(err, ErrEnded) {
			t.Errorf("%q: got %v, want %v", test.text, err, ErrEnded)
		}
	}
}

func TestOtherSize(t *testing.T) {
	text, s := wire(WebSocket, 1)
	if err := s.feed([]byte(text), &tally{size: testSize - 1}); !errors.Is(err, ErrTorn) {
		t.Errorf("got %v, want %v", err, ErrTorn)
	}
}

func TestHistogram(t *testing.T) {
	var h Histogram
	for i := range 1000 {
		h.Add(time.Duration(i+1) * time.Microsecond)
	}
	for _, test := range []struct {
		q    float64
		want time.Duration
	}{{0.5, 500 * time.Microsecond}, {0.99, 990 * time.Microsecond}, {1, time.Millisecond}} {
		if got := h.Quantile(test.q); got < test.want*97/100 || got > test.want*104/100 {
			t.Errorf("quantile %v is %v, want about %v", test.q, got, test.want)
		}
	}
}

func TestPublishFrames(t *testing.T) {
	for _, size := range []int{MinSize, 125, 126, 1000, MaxSize} {
		data := AppendMessage(nil, 5, 6, size)
		if len(data) != size {
			t.Fatalf("%d bytes, want %d", len(data), size)
		}
		frame := appendPublish(nil, WebSocket, data)
		number, at, err := parseMessage(frame[len(frame)-size:])
		if err != nil || number != 5 || at != 6 {
			t.Errorf("got %d, %d, %v", number, at, err)
		}
	}
}
