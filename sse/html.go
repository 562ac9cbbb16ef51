package sse

import (
	"bytes"
	"encoding/json"
	"html"
	"math/rand/v2"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
)

// HTML is the format of a document that never ends: a room's log for browsers that
// run no script. It shows messages, and where some are missing.
type HTML struct{}

// HTMLStyle is the document's style sheet, for a policy that names its hash
// (CSP Level 3, section 6.7.3.3). The log is the one item of a reversed box, which
// stays at its end until the reader scrolls.
const HTMLStyle = `:root{color-scheme:light dark;height:100%;overflow:hidden}` +
	`body{margin:0;height:100%;overflow:auto;display:flex;flex-direction:column-reverse;font:1rem/1.45 system-ui,sans-serif}` +
	`main{padding:.5rem .75rem}article{margin:.5rem 0}` +
	`p{margin:0;white-space:pre-wrap;overflow-wrap:anywhere}` +
	`time,footer{font-size:.8rem;opacity:.7}footer{margin:.75rem 0;text-align:center}`

const htmlBegin = `<!doctype html><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
	`<title>Messages</title><base target="_top"><style>` + HTMLStyle + `</style><main>` + "\n"

// HTMLType is the media type of HTML that contains what clients have published. Caddy's
// templates handler executes responses of the type text/html, and buffers them. Its
// comparison is case-sensitive; that of browsers is not (RFC 9110, section 8.3.1).
const HTMLType = "text/HTML; charset=utf-8"

// ContentType implements [Format].
func (HTML) ContentType() string { return HTMLType }

// Begin implements [Format].
func (HTML) Begin(b []byte, _ *Opening) []byte { return append(b, htmlBegin...) }

// Append implements [Format].
func (HTML) Append(b []byte, it hub.Item) []byte {
	switch {
	case it.Message != nil && !it.Message.Signal:
		return appendArticle(b, it.Message)
	case it.Gap != nil:
		return append(b, "<footer>Some messages are missing here.</footer>\n"...)
	default:
		return b
	}
}

// Heartbeat implements [Format] with a comment.
func (HTML) Heartbeat(b []byte) []byte { return append(b, "<!-- -->\n"...) }

// End implements [Format]: the browser loads the document again after some seconds.
// HTML allows whole seconds only.
func (HTML) End(b []byte, _ hub.Cause) []byte {
	b = append(b, `<meta http-equiv="refresh" content="`...)
	b = strconv.AppendInt(b, 1+rand.Int64N(int64(protocol.RetryLast/time.Second)), 10)
	return append(b, "\">\n"...)
}

// appendArticle appends a message. Everything that comes from clients is escaped, and
// its text direction affects nothing else (bdi, dir=auto).
func appendArticle(b []byte, m *hub.Message) []byte {
	author, text, isText := chat(m)
	if m.From != nil && m.From.Name != "" {
		author = m.From.Name
	} else if m.From != nil && author == "" {
		author = m.From.ID
	}
	b = append(b, "<article>"...)
	if author != "" {
		b = append(b, "<b><bdi>"...)
		b = append(b, html.EscapeString(author)...)
		b = append(b, "</bdi></b> "...)
	}
	b = append(b, `<time datetime="`...)
	b = m.Time.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	b = append(b, `">`...)
	b = m.Time.UTC().AppendFormat(b, "2006-01-02 15:04 UTC")
	b = append(b, `</time><p dir="auto">`...)
	if isText {
		b = appendLinked(b, text)
	} else {
		b = append(b, "<code>"...)
		b = append(b, html.EscapeString(text)...)
		b = append(b, "</code>"...)
	}
	return append(b, "</p></article>\n"...)
}

// chat returns what a person should see of a message: its text, or the field text of an
// object, which chats publish as JSON or as text. For other messages it returns the
// JSON, or the type and the size.
func chat(m *hub.Message) (author, text string, isText bool) {
	if m.Kind == message.Binary {
		kind, _, _ := strings.Cut(m.Type, ";")
		return "", strings.TrimSpace(kind + " " + strconv.Itoa(len(m.Data)) + " bytes"), false
	}
	var content struct {
		Text *string         `json:"text"`
		Name json.RawMessage `json:"name"`
	}
	if !bytes.HasPrefix(m.Data, []byte{'{'}) || json.Unmarshal(m.Data, &content) != nil || content.Text == nil {
		return "", string(m.Data), m.Kind == message.Text
	}
	if json.Unmarshal(content.Name, &author) != nil {
		author = "" // not a string
	}
	return author, *content.Text, true
}

// link matches web addresses. Characters in trailing are cut off its end: they rarely
// belong to the address.
var link = regexp.MustCompile(`(?i)\bhttps?://[^\s\p{Z}\p{C}<>"]+`)

const trailing = `.,:;!?'*_)]}`

// appendLinked appends text, with addresses as links that send no referrer and give
// no credit to their target.
func appendLinked(b []byte, text string) []byte {
	for strings.Contains(text, "://") {
		at := link.FindStringIndex(text)
		if at == nil {
			break
		}
		address := strings.TrimRight(text[at[0]:at[1]], trailing)
		b = append(b, html.EscapeString(text[:at[0]])...)
		text = text[at[0]+len(address):]
		if u, err := url.Parse(address); err != nil || u.Host == "" {
			b = append(b, html.EscapeString(address)...)
			continue
		}
		escaped := html.EscapeString(address)
		b = append(b, `<a rel="nofollow noopener noreferrer ugc" href="`...)
		b = append(b, escaped...)
		b = append(b, `">`...)
		b = append(b, escaped...)
		b = append(b, "</a>"...)
	}
	return append(b, html.EscapeString(text)...)
}
