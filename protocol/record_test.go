package protocol

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
)

var recordTime = time.Date(2026, 11, 21, 7, 0, 0, 123e6, time.UTC)

// A message that is exported and imported again is the same, and its pages are.
func TestRecord(t *testing.T) {
	for name, m := range map[string]*hub.Message{
		"text":                 {Kind: message.Text, Data: []byte("a \"b\"\n\u2028 <c>")},
		"text with a type":     {Kind: message.Text, Data: []byte("# a"), Type: "text/markdown; charset=utf-8"},
		"text that looks JSON": {Kind: message.Text, Data: []byte(`{"a":1}`)},
		"no text":              {Kind: message.Text, Data: []byte{}},
		"JSON":                 {Kind: message.JSON, Data: []byte(`{"a":[1,null]}`), Type: "application/json"},
		"null":                 {Kind: message.JSON, Data: []byte(`null`), Type: "application/json"},
		"JSON of a type":       {Kind: message.JSON, Data: []byte(`{"a":1}`), Type: "application/ld+json"},
		"JSON that is text":    {Kind: message.JSON, Data: []byte(`"a"`), Type: "application/json"},
		"JSON like bytes":      {Kind: message.JSON, Data: []byte(`{"base64":"AA==","type":"a/b"}`), Type: "application/json"},
		"bytes":                {Kind: message.Binary, Data: []byte{0, 0xff}, Type: "image/png"},
		"everything": {
			Kind: message.Text, Data: []byte("x"), Event: "order", From: &hub.User{ID: "ann", Name: "Ann"}, Key: "k 1",
			Expires: recordTime.Add(time.Hour),
		},
		"a guest": {Kind: message.Text, Data: []byte("x"), From: &hub.User{ID: "~gabc"}},
	} {
		m.Room, m.Position, m.Time = "a/b", hub.Position{Epoch: "k3f9", Offset: 1042}, recordTime
		line := AppendRecord([]byte("before"), m)[6:]
		if bytes.Count(line, []byte("\n")) != 1 || line[len(line)-1] != '\n' {
			t.Errorf("%s: %q is not one line", name, line)
		}
		got, err := ParseRecord(line)
		if err != nil {
			t.Errorf("%s: %s %v", name, line, err)
			continue
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s: %+v becomes %s and %+v", name, m, line, got)
		}
		if was, is := Envelope(m), Envelope(got); !bytes.Equal(was, is) {
			t.Errorf("%s: %s becomes %s", name, was, is)
		}
	}
	m := &hub.Message{Room: "a", Position: hub.Position{Epoch: "e", Offset: 1}, Data: []byte("x"), Kind: message.Text, Time: recordTime, Publisher: "canary"}
	const want = `{"id":"e.1","room":"a","data":"x","at":"2026-11-21T07:00:00.123Z","epoch":"e"}` + "\n"
	if got := string(AppendRecord(nil, m)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// A line that is no message is an error that says what is wrong.
func TestBadRecords(t *testing.T) {
	const good = `{"id":"e.1","room":"a","data":1,"at":"2026-11-21T07:00:00Z"}`
	if _, err := ParseRecord([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for was, is := range map[string][2]string{
		`{"id"`:                {`[`, "JSON"},
		`"e.1"`:                {`"e.01"`, "invalid id"},
		`"id"`:                 {`"no"`, "invalid id"},
		`"a"`:                  {`"a//b"`, "bad room name"},
		`"data":1`:             {`"x":1`, "data is missing"},
		`1,`:                   {`{"base64":"?","type":"a/b"},`, "data"},
		`1`:                    {"\"\xff\"", "UTF-8"},
		`"at"`:                 {`"when"`, "field at"},
		`2026-11-21T07:00:00Z`: {`yesterday`, "JSON"},
		`}`:                    {`,"epoch":"f"}`, "invalid epoch"},
		`,"room"`:              {`,"op":"gap","room"`, "op"},
		`"room"`:               {`"event":"gap","room"`, "reserved"},
		`"room":`:              {`"from":{"id":"~x"},"room":`, "bad user"},
		`,"at"`:                {`,"type":"text/plain","at"`, "must be a string"},
		`1,"at"`:               {`{"base64":"AA==","type":"a/b"},"type":"text/plain","at"`, "invalid type"},
		`"room":"a"`:           {`"room":"a","key":"` + strings.Repeat("x", 300) + `"`, "idempotency key"},
	} {
		line := strings.Replace(good, was, is[0], 1)
		if m, err := ParseRecord([]byte(line)); err == nil || !strings.Contains(err.Error(), is[1]) {
			t.Errorf("%s: %+v, %v; want an error with %q", line, m, err, is[1])
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"id":"e.1","room":"a","data":"x","at":"2026-11-21T07:00:00Z","type":"text/plain","expires":"2026-11-21T07:00:00Z"}`))
	f.Add([]byte(`{"id":"e.1","room":"a","data":{"base64":"AA==","type":"a/b"},"at":"2026-11-21T07:00:00Z","from":{"id":"a"}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		m, err := ParseRecord(line)
		if err != nil {
			return
		}
		again, err := ParseRecord(AppendRecord(nil, m))
		if err != nil || !bytes.Equal(AppendRecord(nil, m), AppendRecord(nil, again)) {
			t.Errorf("%s becomes %s, and then %+v %v", line, AppendRecord(nil, m), again, err)
		}
	})
}
