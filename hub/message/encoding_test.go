package message_test

import (
	"bytes"
	"encoding"
	"encoding/hex"
	"errors"
	"hash/crc32"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub/message"
)

var (
	_ encoding.BinaryAppender    = (*message.Message)(nil)
	_ encoding.BinaryUnmarshaler = (*message.Message)(nil)
)

// Messages that are stored today must remain readable: these bytes never change.
const goldenMessage = "01" + "02" + "9208" + "04" + "fbf8fcc5be989803" + "06" + "fb86cbe2be989803" + "08" + "02" +
	"0b" + "04" + "6b336639" + "0d" + "05" + "6c6f626279" + "0f" + "05" + "6f72646572" + "11" + "0a" + "746578742f706c61696e" +
	"13" + "03" + "616e6e" + "15" + "03" + "416e6e" + "17" + "03" + "746167" + "19" + "01" + "6b" + "1b" + "02" + "6869"

func golden() *message.Message {
	at := time.Date(2026, 11, 21, 7, 0, 0, 123_000, time.UTC)
	return &message.Message{
		Room: "lobby", Event: "order", Position: message.Position{Epoch: "k3f9", Offset: 1042}, Kind: message.JSON, Type: "text/plain",
		Data: []byte("hi"), From: &message.User{ID: "ann", Name: "Ann"}, Key: "k", Publisher: "tag", Time: at, Expires: at.Add(time.Minute),
	}
}

func encode(t testing.TB, m *message.Message) []byte {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEncodingNeverChanges(t *testing.T) {
	got := encode(t, golden())
	if text := hex.EncodeToString(got[:len(got)-4]); text != goldenMessage {
		t.Errorf("encoded as\n%s, want\n%s", text, goldenMessage)
	}
	var back message.Message
	if err := back.UnmarshalBinary(got); err != nil || !reflect.DeepEqual(&back, golden()) {
		t.Errorf("read as %+v: %v", &back, err)
	}
	if b, err := golden().AppendBinary([]byte("before")); err != nil || !bytes.Equal(b, append([]byte("before"), got...)) {
		t.Errorf("appended as %x: %v", b, err)
	}
}

// A message that is read back has all its fields.
func TestEncodingKeepsMessages(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	text := func(most int) string {
		return strings.Repeat(string(rune('a'+rnd.IntN(26))), rnd.IntN(most)*rnd.IntN(2))
	}
	at := func() time.Time {
		if rnd.IntN(3) == 0 {
			return time.Time{}
		}
		return time.UnixMicro(1 + rnd.Int64N(1<<52)).UTC()
	}
	for range 2000 {
		m := &message.Message{
			Room: text(200), Event: text(64), Position: message.Position{Epoch: text(30), Offset: rnd.Uint64() >> rnd.IntN(64)},
			Kind: message.Kind(rnd.IntN(3)), Type: text(255), Key: text(64), Publisher: text(20), Time: at(), Expires: at(),
		}
		if rnd.IntN(2) == 0 {
			m.From = &message.User{ID: "u" + text(100), Name: text(100)}
		}
		if n := rnd.IntN(3); n > 0 {
			m.Data = []byte("\x00\xff" + text(70_000))
		}
		var back message.Message
		if err := back.UnmarshalBinary(encode(t, m)); err != nil || !reflect.DeepEqual(&back, m) {
			t.Fatalf("%+v is read as %+v: %v", m, &back, err)
		}
	}
}

func TestSignalsAreNotEncoded(t *testing.T) {
	for _, m := range []*message.Message{{Signal: true}, {Presence: new(message.Presence)}} {
		if _, err := m.AppendBinary(nil); err == nil {
			t.Errorf("%+v is encoded", m)
		}
	}
}

// sealed returns the fields, given in hexadecimal, with a version and a checksum.
func sealed(t testing.TB, fields string) []byte {
	t.Helper()
	b, err := hex.DecodeString("01" + fields)
	if err != nil {
		t.Fatal(err)
	}
	sum := crc32.Checksum(b, crc32.MakeTable(crc32.Castagnoli))
	return append(b, byte(sum>>24), byte(sum>>16), byte(sum>>8), byte(sum))
}

// A later release may write fields that this one does not know.
func TestEncodingSkipsUnknownFields(t *testing.T) {
	var m message.Message
	if err := m.UnmarshalBinary(sealed(t, "0207"+"1b026869"+"1c05"+"1f01ff"+"c80105")); err != nil || m.Offset != 7 || string(m.Data) != "hi" {
		t.Errorf("%+v, %v", &m, err)
	}
}

func TestDamagedEncoding(t *testing.T) {
	whole := encode(t, golden())
	damaged := map[string][]byte{
		"nothing": nil, "a version alone": {1}, "another version": append([]byte{2}, whole[1:]...),
		"a field that is cut off": sealed(t, "02"), "data that is cut off": sealed(t, "1bff01"), "a field twice": sealed(t, "02010201"),
		"fields out of order": sealed(t, "1b01610201"), "field 0": sealed(t, "0001"), "a zero": sealed(t, "0400"), "an empty text": sealed(t, "0d00"), "a time that is none": sealed(t, "04ffffffffffffffffff01"), "a kind that is none": sealed(t, "08ff7f"), "a number without end": sealed(t, "02ffffffffffffffffffffff01"),
	}
	for i := range whole {
		damaged["cut after "+hex.EncodeToString(whole[:i])] = whole[:i]
		flipped := bytes.Clone(whole)
		flipped[i] ^= 0x10
		damaged["flipped "+hex.EncodeToString(flipped)] = flipped
	}
	for name, b := range damaged {
		if err := new(message.Message).UnmarshalBinary(b); !errors.Is(err, message.ErrEncoding) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// No input panics, and a message that can be read is written again as the same message.
func FuzzEncoding(f *testing.F) {
	whole := encode(f, golden())
	f.Add([]byte(nil))
	f.Add(whole[1 : len(whole)-4])
	f.Add([]byte("\x02\x07\x1b\x02hi\x1c\x05"))
	f.Fuzz(func(t *testing.T, fields []byte) {
		var m, again message.Message
		if m.UnmarshalBinary(sealed(t, hex.EncodeToString(fields))) != nil {
			return
		}
		if err := again.UnmarshalBinary(encode(t, &m)); err != nil || !reflect.DeepEqual(&again, &m) {
			t.Errorf("%+v is read as %+v: %v", &m, &again, err)
		}
	})
}

func BenchmarkEncoding(b *testing.B) {
	m := golden()
	encoded := encode(b, m)
	b.Run("append", func(b *testing.B) {
		buf := make([]byte, 0, 256)
		for b.Loop() {
			buf, _ = m.AppendBinary(buf[:0])
		}
	})
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			_ = new(message.Message).UnmarshalBinary(encoded)
		}
	})
}
