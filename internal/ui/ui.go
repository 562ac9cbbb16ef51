// Package ui is the page that shows a room to people. Where scripts run, it is the
// element <realtime-chat>. Elsewhere it is a form, and a frame with the log as a document
// that never ends ([sse.HTML]).
package ui

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"html/template"
	"net/http"
	"net/url"
	"strings"

	"golang.org/x/text/language"

	"github.com/caddy-realtime/realtime/scripts"
	"github.com/caddy-realtime/realtime/sse"
)

// Options say what the page shows.
type Options struct {
	// Room is the room's name.
	Room string
	// RoomInQuery says that the query names the room, and not the path.
	RoomInQuery bool
	// Prefix is the hub's path, which ends with a slash.
	Prefix string
}

// Serve answers with the page, in the language that the reader prefers of those it has.
// An error means that nothing has been written.
func Serve(w http.ResponseWriter, r *http.Request, o Options) error {
	_, i := language.MatchStrings(matcher, r.Header.Get("Accept-Language"))
	d := data{Room: o.Room, Lang: languages[i].String(), Words: texts[i], Base: base(r.URL, o.Prefix)}
	for _, a := range scripts.Assets() {
		if a.Name == "realtime-chat.js" {
			d.Script = a.Hashed
		}
	}
	if o.RoomInQuery {
		d.Query = template.URL("room=" + url.QueryEscape(o.Room) + "&") //nolint:gosec // it is escaped
	}
	var page bytes.Buffer
	if err := document.Execute(&page, d); err != nil {
		return err
	}
	header := w.Header()
	header.Set("Content-Type", sse.HTMLType)
	header.Add("Vary", "Accept-Language")
	header.Set("Content-Security-Policy", pagePolicy)
	header.Set("Referrer-Policy", "same-origin") // for redirecting the form back; other sites get none
	w.WriteHeader(http.StatusOK)
	_, _ = page.WriteTo(w) // the client may have gone
	return nil
}

// Frame sets the headers of the log in the page's frame.
func Frame(header http.Header) {
	header.Set("Content-Security-Policy", logPolicy)
	header.Set("Referrer-Policy", "no-referrer")
}

// base returns the relative URL from a page to the prefix above it. The browser may see
// another prefix, if a handler before us has stripped one. For the browser %2F is not
// a slash.
func base(page *url.URL, prefix string) string {
	up := strings.Count(page.EscapedPath(), "/") - strings.Count(prefix, "/")
	switch {
	case up < 0: // a slash within the prefix was escaped
		return prefix
	case up == 0:
		return "./"
	default:
		return strings.Repeat("../", up)
	}
}

// style is the style sheet of the page; the element has its own. Without JavaScript
// the element stays undefined.
const style = `:root{color-scheme:light dark}` +
	`body{margin:0;font:1rem/1.5 system-ui,sans-serif}` +
	`h1{flex:1;min-width:0;margin:0;font:inherit;font-weight:650;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}` +
	`realtime-chat:not(:defined) h1{padding:0 .75rem;line-height:3rem}` +
	`div{display:flex;flex-direction:column;height:calc(100vh - 3rem);height:calc(100dvh - 3rem)}` +
	`iframe{flex:1;border:solid #8886;border-width:1px 0}` +
	`form{display:flex;gap:.5rem;padding:.75rem}` +
	`input,button{min-width:0;padding:.5rem .75rem;border:1px solid #888;border-radius:.5rem;font:inherit}` +
	`input{flex:1}input+input{flex:4}::placeholder{color:inherit;opacity:.7}`

// document is executed with a data. Where scripts run, the noscript element costs
// nothing: above all its frame opens no connection.
var document = template.Must(template.New("ui").Parse(`<!doctype html>
<html lang="{{.Lang}}"{{if eq .Lang "ar"}} dir="rtl"{{end}}>
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>{{.Room}}</title>
<style>` + style + `</style>
<script type="module" src="{{.Base}}-/{{.Script}}"></script>
</head>
<body>
<main>
<realtime-chat src="{{.Base}}" room="{{.Room}}" form="full"><h1 slot="header" dir="auto">{{.Room}}</h1><noscript><div>
<iframe src="?{{.Query}}log&amp;last=50" title="{{.Words.Title}}"></iframe>
<form method="post" action="?{{.Query}}">
<input name="name" maxlength="64" autocomplete="nickname" placeholder="{{.Words.Name}}" aria-label="{{.Words.Name}}" dir="auto">
<input name="text" required autofocus autocomplete="off" placeholder="{{.Words.Message}}" aria-label="{{.Words.Message}}" dir="auto">
<button>{{.Words.Send}}</button>
</form>
</div></noscript></realtime-chat>
</main>
</body>
</html>
`))

// data are the values in the document.
type data struct {
	Room   string
	Lang   string // a language of the element
	Words  words
	Base   string       // the relative URL of the prefix
	Script string       // its name below -/
	Query  template.URL // room=…& if the room is not in the path
}

// The policies of the page and of its frame (CSP Level 3). The element creates its style
// sheets by script, to which style-src does not apply.
var (
	pagePolicy = "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self'; frame-src 'self'; form-action 'self'; " + policyOf(style)
	logPolicy  = "default-src 'none'; form-action 'none'; " + policyOf(sse.HTMLStyle)
)

// policyOf returns directives that allow one style sheet, and frames on this site alone.
func policyOf(style string) string {
	sum := sha256.Sum256([]byte(style))
	return "style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; base-uri 'none'; frame-ancestors 'self'"
}

// words are the texts of the page where no script runs.
type words struct{ Title, Name, Message, Send string }

// languages are the languages of the element. The first one is the default.
var (
	languages = []language.Tag{language.English, language.Chinese, language.German, language.Spanish, language.Arabic}
	matcher   = language.NewMatcher(languages)
	texts     = []words{
		{"Messages", "Name", "Message", "Send"},
		{"消息", "名字", "消息", "发送"},
		{"Nachrichten", "Name", "Nachricht", "Senden"},
		{"Mensajes", "Nombre", "Mensaje", "Enviar"},
		{"الرسائل", "الاسم", "رسالة", "إرسال"},
	}
)
