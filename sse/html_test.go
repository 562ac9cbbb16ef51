package sse_test

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/caddy-realtime/realtime/hub"
	"github.com/caddy-realtime/realtime/hub/message"
	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/sse"
)

func asJSON(m *hub.Message) { m.Kind = message.JSON }

func from(id, name string) func(*hub.Message) {
	return func(m *hub.Message) { m.From = &hub.User{ID: id, Name: name} }
}

// a returns a link to an escaped address.
func a(address string) string {
	return `<a rel="nofollow noopener noreferrer ugc" href="` + address + `">` + address + "</a>"
}

func TestHTMLAppend(t *testing.T) {
	const head, tail = `<article><time datetime="2026-11-21T07:00:00.123Z">2026-11-21 07:00 UTC</time><p dir="auto">`, "</p></article>\n"
	by := func(name, rest string) string {
		return strings.Replace(head, "<time", "<b><bdi>"+name+"</bdi></b> <time", 1) + rest + tail
	}
	tests := []struct {
		name string
		item hub.Item
		want string
	}{
		{"text", item("hi"), head + "hi" + tail},
		{"lines", item("a\n\n b"), head + "a\n\n b" + tail},
		{"nothing", item(""), head + tail},
		{"markup", item(`<script>alert(1)</script>&amp;"'`), head + "&lt;script&gt;alert(1)&lt;/script&gt;&amp;amp;&#34;&#39;" + tail},
		{"end of it", item(`</p></article></main><style>*{}`), head + "&lt;/p&gt;&lt;/article&gt;&lt;/main&gt;&lt;style&gt;*{}" + tail},
		{"comment", item(`<!-- x --><![CDATA[`), head + "&lt;!-- x --&gt;&lt;![CDATA[" + tail},
		{"chat", item(`{"text":"hi","name":"Ann"}`, asJSON), by("Ann", "hi")},
		{"chat as text", item(`{"text":"hi","name":"Ann"}`), by("Ann", "hi")},
		{"braces in text", item(`{"text":1}`), head + "{&#34;text&#34;:1}" + tail},
		{"chat without name", item(`{"text":"hi"}`, asJSON), head + "hi" + tail},
		{"evil name", item(`{"text":"hi","name":"<b onclick=x>\u202e\"&"}`, asJSON), by("&lt;b onclick=x&gt;\u202e&#34;&amp;", "hi")},
		{"name is no string", item(`{"text":"hi","name":{"a":1}}`, asJSON), head + "hi" + tail},
		{"user's name wins", item(`{"text":"hi","name":"Ann"}`, asJSON, from("u1", "Bob <3")), by("Bob &lt;3", "hi")},
		{"user without name", item(`{"text":"hi","name":"Ann"}`, asJSON, from("u1", "")), by("Ann", "hi")},
		{"user alone", item("hi", from("<u1>", "")), by("&lt;u1&gt;", "hi")},
		{"text is no string", item(`{"text":1}`, asJSON), head + "<code>{&#34;text&#34;:1}</code>" + tail},
		{"text is null", item(`{"text":null,"name":"x"}`, asJSON), head + "<code>{&#34;text&#34;:null,&#34;name&#34;:&#34;x&#34;}</code>" + tail},
		{"JSON", item(`["</code><script>"]`, asJSON), head + "<code>[&#34;&lt;/code&gt;&lt;script&gt;&#34;]</code>" + tail},
		{"number", item(`7`, asJSON), head + "<code>7</code>" + tail},
		{
			"bytes", item("\x89<b>", func(m *hub.Message) { m.Kind, m.Type = message.Binary, `image/<png>; x="y"` }),
			head + "<code>image/&lt;png&gt; 4 bytes</code>" + tail,
		},
		{"bytes of no type", item("\xff", func(m *hub.Message) { m.Kind = message.Binary }), head + "<code>1 bytes</code>" + tail},

		{"link", item("see https://example.com/a?b=c#d."), head + "see " + a("https://example.com/a?b=c#d") + "." + tail},
		{"links", item("(http://a.example) HTTPS://B.example/x_"), head + "(" + a("http://a.example") + ") " + a("HTTPS://B.example/x") + "_" + tail},
		{"link with &", item("http://a.example/?a=1&b='2"), head + a("http://a.example/?a=1&amp;b=&#39;2") + tail},
		{
			"link that breaks out", item(`http://a.example/"onclick="x http://a.example/'x`),
			head + a("http://a.example/") + "&#34;onclick=&#34;x " + a("http://a.example/&#39;x") + tail,
		},
		{"link that is markup", item("http://a.example/<b>"), head + a("http://a.example/") + "&lt;b&gt;" + tail},
		{"link with marks of direction", item("http://a.example/\u202eb"), head + a("http://a.example/") + "\u202eb" + tail},
		{"no link", item("javascript://x data:text/html,x xhttp://a.example http:// https://. ://"), head + "javascript://x data:text/html,x xhttp://a.example http:// https://. ://" + tail},
		{"no address", item("http://[::1 http://%zz"), head + "http://[::1 http://%zz" + tail},
		{"link in a chat", item(`{"text":"http://a.example","name":"http://b.example"}`, asJSON), by("http://b.example", a("http://a.example"))},

		{"gap", hub.Item{Gap: &hub.Gap{Room: "<b>", From: pos, To: to, Reason: message.GapExpired}}, "<footer>Some messages are missing here.</footer>\n"},
		{"signal", item("x", func(m *hub.Message) { m.Signal, m.Position, m.Event = true, hub.Position{}, "typing" }), ""},
		{"notice", hub.Item{Notice: []byte("x")}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := string(sse.HTML{}.Append([]byte("x"), test.item)); got != "x"+test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestHTMLBeginAndEnd(t *testing.T) {
	if got := (sse.HTML{}).ContentType(); got != "text/HTML; charset=utf-8" {
		t.Errorf("type %q", got)
	}
	if got := string(sse.HTML{}.Heartbeat(nil)); got != "<!-- -->\n" {
		t.Errorf("heartbeat %q", got)
	}
	begin := string(sse.HTML{}.Begin(nil, new(sse.Opening)))
	// A stream that leaves net/http begins with it in one notice.
	if !strings.HasPrefix(begin, "<!doctype html>") || len(begin) > 2<<10 || !strings.Contains(begin, "<style>"+sse.HTMLStyle+"</style>") ||
		!strings.Contains(begin, `<base target="_top">`) || !strings.HasSuffix(begin, "<main>\n") || strings.Contains(begin, "<script") {
		t.Errorf("begins with %q", begin)
	}
	refresh := regexp.MustCompile(`^<meta http-equiv="refresh" content="([1-9])">\n$`)
	seen := make(map[string]bool)
	for range 200 {
		m := refresh.FindStringSubmatch(string(sse.HTML{}.End(nil, hub.CauseDraining)))
		if m == nil || m[1] > "3" {
			t.Fatalf("ends with %q", sse.HTML{}.End(nil, hub.CauseDraining))
		}
		seen[m[1]] = true
	}
	if len(seen) != 3 {
		t.Errorf("only %v seconds", seen)
	}
}

// allowed are the elements that messages may become, and their attributes.
var allowed = map[string][]string{
	"article": nil, "b": nil, "bdi": nil, "code": nil,
	"time": {"datetime"}, "p": {"dir"}, "a": {"rel", "href"},
}

// Everything that is published comes out as text, in the right elements.
func FuzzHTML(f *testing.F) {
	f.Add("text/plain", []byte("<b>a</b>\r\nhttps://example.com/?a&b;'\" &lt; \x00 </p>"), "Ann")
	f.Add("application/json", []byte(`{"text":"</p><script>http://x<y","name":"<!--"}`), "")
	f.Add("application/json", []byte(`{"text":"\ud800\u0000","name":""}`), "<plaintext>")
	f.Add("text/<b>", []byte("\xff"), "\u202e")
	f.Fuzz(func(t *testing.T, contentType string, body []byte, name string) {
		kind, data, err := protocol.Content(contentType, body)
		if err != nil {
			return
		}
		out := string(sse.HTML{}.Append(nil, item("", func(m *hub.Message) {
			m.Kind, m.Data, m.Type, m.From = kind, data, contentType, &hub.User{Name: name}
		})))
		var texts []string // of p
		depth := 0
		for z := html.NewTokenizer(strings.NewReader(out)); ; {
			switch z.Next() {
			case html.ErrorToken:
				if depth != 0 {
					t.Fatalf("%d elements are open at the end of %q", depth, out)
				}
				if kind == message.Text && !strings.HasPrefix(string(data), "{") && strings.Join(texts, "") != string(data) {
					t.Fatalf("text %q, want %q", texts, data)
				}
				return
			case html.StartTagToken:
				tag := z.Token()
				attributes, known := allowed[tag.Data]
				if !known {
					t.Fatalf("<%s> in %q", tag.Data, out)
				}
				for _, a := range tag.Attr {
					if !slices.Contains(attributes, a.Key) || a.Key == "href" && !regexp.MustCompile(`^(?i)https?://[^/]`).MatchString(a.Val) {
						t.Fatalf("%s=%q in %q", a.Key, a.Val, out)
					}
				}
				if depth++; tag.Data == "p" {
					texts = nil
				}
			case html.EndTagToken:
				if depth--; z.Token().Data == "article" && depth != 0 {
					t.Fatalf("the article ends early in %q", out)
				}
			case html.TextToken:
				if depth > 0 {
					texts = append(texts, z.Token().Data)
				}
			default:
				t.Fatalf("%v in %q", z.Token(), out)
			}
		}
	})
}

func TestHTML(t *testing.T) {
	bubble(t, func(o *sse.Options) { o.Format, o.Heartbeat = sse.HTML{}, time.Minute }, func(t *testing.T, s *stream) {
		if got := s.take(); !strings.HasPrefix(got, "<!doctype html>") || s.header.Get("Content-Type") != "text/HTML; charset=utf-8" {
			t.Errorf("begins with %q, %v", got, s.header)
		}
		s.publish("<b>")
		if got := s.take(); !strings.Contains(got, ">&lt;b&gt;</p>") {
			t.Errorf("message %q", got)
		}
		<-time.After(time.Minute)
		if got := s.take(); got != "<!-- -->\n" {
			t.Errorf("heartbeat %q", got)
		}
		s.attached.Move(0, 0)
		if got := s.ended(hub.CauseDraining); !strings.HasPrefix(got, `<meta http-equiv="refresh"`) {
			t.Errorf("ends with %q", got)
		}
	})
}

func TestHTMLDetached(t *testing.T) {
	detach(t, func(o *sse.Options) { o.Heartbeat, o.Format = 20*time.Millisecond, sse.HTML{} }, func(t *testing.T, s *site) {
		_, r := s.get()
		until(t, r, "<!doctype html>")
		until(t, r, "<!-- -->")
		for _, text := range []string{"one", "two"} {
			s.publish(text)
			if got := until(t, r, "<article>"); !strings.Contains(got, ">"+text+"</p></article>") {
				t.Errorf("got %q, want %s", got, text)
			}
		}
		if n := s.group.Len(); n != 1 {
			t.Errorf("%d connections have left net/http", n)
		}
		s.hub.Sessions()[0].End(hub.CauseDraining)
		until(t, r, `<meta http-equiv="refresh"`)
		s.ended(hub.CauseDraining)
	})
}
