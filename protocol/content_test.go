package protocol_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// deep returns arrays within arrays.
func deep(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }

// refused stands for the content of a body that is refused.
const refused = "refused"

// contents are bodies with their types, and what becomes of them.
var contents = []struct {
	name string
	kind string
	body string
	want string // or refused
	as   hub.Kind
}{
	{"nothing", "", "", "", message.Text},
	{"no type, text", "", "hi", "hi", message.Text},
	{"no type, JSON stays text", "", `{"a": 1}`, `{"a": 1}`, message.Text},
	{"no type, bytes", "", "\xff\r\n", "\xff\r\n", message.Binary},
	{"no type, CRLF", "", "a\r\nb\rc\n\r\r\n", "a\nb\nc\n\n\n", message.Text},
	{"text", "text/plain", "hi", "hi", message.Text},
	{"empty text", "text/plain", "", "", message.Text},
	{"CRLF", "text/plain", "a\r\nb\rc", "a\nb\nc", message.Text},
	{"BOM stays", "text/plain", "\ufeffhi", "\ufeffhi", message.Text},
	{"NUL and separators", "text/plain", "a\x00\u2028\u0085\v\fb", "a\x00\u2028\u0085\v\fb", message.Text},
	{"charset", "text/plain; charset=utf-8", "é", "é", message.Text},
	{"charset in capitals and quotes", `Text/HTML; Charset="UTF-8"`, "é", "é", message.Text},
	{"charset utf8", "text/plain;charset=utf8", "é", "é", message.Text},
	{"charset us-ascii", "text/plain;charset=US-ASCII", "e", "e", message.Text},
	{"another charset", "text/plain; charset=iso-8859-1", "e", refused, 0},
	{"another charset of JSON", "application/json; charset=utf-16", "{}", refused, 0},
	{"another charset of bytes", "application/pdf; charset=utf-16", "\xff\r\n", "\xff\r\n", message.Binary},
	{"text that is not UTF-8", "text/plain", "\xe9", refused, 0},
	{"text with a surrogate", "text/plain", "\xed\xa0\x80", refused, 0},
	{"curl -d", "application/x-www-form-urlencoded", "a=b&c=\r\n", "a=b&c=\n", message.Text},
	{"JSON", "application/json", " { \"a\" : [ 1 , 2.50 ] }\r\n", `{"a":[1,2.50]}`, message.JSON},
	{"JSON of another type", "application/activity+json; profile=x", "[ ]", "[]", message.JSON},
	{"JSON in capitals", "APPLICATION/JSON", "null", "null", message.JSON},
	{"a number", "application/json", "1e9999", "1e9999", message.JSON},
	{"line ends within a string", "application/json", `"a\r\nb"`, `"a\r\nb"`, message.JSON},
	{"duplicate keys", "application/json", `{"a":1,"a":2}`, `{"a":1,"a":2}`, message.JSON},
	{"escaped lone surrogate", "application/json", `"\ud800"`, `"\ud800"`, message.JSON},
	{"deep", "application/json", deep(5000), deep(5000), message.JSON},
	{"too deep", "application/json", deep(20_000), refused, 0},
	{"empty JSON", "application/json", "", refused, 0},
	{"JSON with a BOM", "application/json", "\ufeff{}", refused, 0},
	{"trailing garbage", "application/json", `{}x`, refused, 0},
	{"two values", "application/json", `{} {}`, refused, 0},
	{"trailing comma", "application/json", `[1,]`, refused, 0},
	{"control character within a string", "application/json", "\"a\nb\"", refused, 0},
	{"JSON that is not UTF-8", "application/json", "\"\xff\"", refused, 0},
	{"lines of JSON are no JSON", "application/x-ndjson", "{}\n{}\n", "{}\n{}\n", message.Binary},
	{"bytes", "application/octet-stream", "a\r\nb", "a\r\nb", message.Binary},
	{"image", "image/png", "\x89PNG\r\n", "\x89PNG\r\n", message.Binary},
	{"no type at all", ";", "x", refused, 0},
	{"bad parameter", "text/plain; charset", "x", refused, 0},
	{"charset twice", "text/plain; charset=utf-8; charset=utf-16", "x", refused, 0},
	{"long type", "text/" + strings.Repeat("x", 250), "x", "x", message.Text},
	{"too long type", "text/" + strings.Repeat("x", 251), "x", refused, 0},
}

func TestContent(t *testing.T) {
	for _, test := range contents {
		t.Run(test.name, func(t *testing.T) {
			body := []byte(test.body)
			kind, data, err := protocol.Content(test.kind, body)
			if test.want == refused {
				if !errors.Is(err, protocol.ErrContent) {
					t.Errorf("%v %q, %v: want a refusal", kind, data, err)
				}
				return
			}
			if err != nil || kind != test.as || string(data) != test.want {
				t.Errorf("%v %.50q, %v: want %v %.50q", kind, data, err, test.as, test.want)
			}
			if string(body) != test.body {
				t.Error("the body was changed")
			}
		})
	}
}

// FuzzContent checks that data that is accepted is valid for its kind.
func FuzzContent(f *testing.F) {
	f.Add("application/json", []byte(`{"a": "\u2028 b"}`))
	f.Add("text/plain; charset=utf-8", []byte("a\r\nb\r\r\nc"))
	f.Add("", []byte("\xff\x00"))
	f.Add(`a/b; c="d\"e"`, []byte("x"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		as, data, err := protocol.Content(kind, body)
		if err != nil {
			if !errors.Is(err, protocol.ErrContent) {
				t.Fatalf("error %v", err)
			}
			return
		}
		switch as {
		case message.JSON:
			var compact bytes.Buffer
			if err := json.Compact(&compact, data); err != nil || !bytes.Equal(compact.Bytes(), data) || !utf8.Valid(data) || bytes.ContainsAny(data, "\r\n") {
				t.Errorf("JSON %q: %v", data, err)
			}
		case message.Text:
			if !utf8.Valid(data) || bytes.ContainsRune(data, '\r') {
				t.Errorf("text %q", data)
			}
		default:
			if !bytes.Equal(data, body) {
				t.Errorf("bytes %q of %q", data, body)
			}
		}
		if as != message.Binary {
			again, same, err := protocol.Content(kind, data)
			if err != nil || again != as || !bytes.Equal(same, data) {
				t.Errorf("not stable: %q, then %q, %v", data, same, err)
			}
		}
	})
}
