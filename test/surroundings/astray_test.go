package surroundings

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddy-realtime/realtime/test/caddytest"
)

const (
	rewritten = "a directive before realtime rewrites the paths of rooms, so no request reaches them"
	elsewhere = "the block around realtime matches other paths than its prefix: no request can reach a room"
	further   = "the block around realtime matches other paths than its prefix: rooms are found only below both"
)

// page of a single-page application, which all unknown paths show.
func www(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("app"), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestRoomsThatAreRewrittenAreNotSilent(t *testing.T) {
	for name, c := range map[string]struct {
		block  string
		target string // /rt/lobby by default
		warned string // a message of the log; "": none
		silent bool   // the handler is not called, so the log alone tells
		says   string // in the answer
	}{
		"try_files":            {block: "try_files {path} /index.html\nREALTIME\nfile_server", warned: rewritten, says: "try_files changed"},
		"try_files, a matcher": {block: "try_files {path} /index.html\nrealtime /rt/* {\n" + caddytest.Open + "}\nfile_server", warned: rewritten, says: "try_files changed"},
		"a named matcher of one path": {
			block:  "@rooms path /rt/*\ntry_files {path} /index.html\nrealtime @rooms {\nprefix /rt/\n" + caddytest.Open + "}\nfile_server",
			warned: rewritten, says: "try_files changed",
		},
		"try_files, a status":        {block: "try_files {path} {path}.html =404\nREALTIME\nfile_server", warned: rewritten, silent: true},
		"a matcher of a header":      {block: "@x {\npath /rt/*\nheader X-Key *\n}\ntry_files {path} /index.html\nrealtime @x {\nprefix /rt/\n}\nfile_server", warned: rewritten, silent: true},
		"rewrite":                    {block: "rewrite * /index.html\nREALTIME\nfile_server", warned: rewritten, says: "rewrite changed"},
		"rewrite by regexp":          {block: "@html path_regexp ^/[a-z/]+$\nrewrite @html /index.html\nREALTIME\nfile_server", warned: rewritten, says: "rewrite changed"},
		"uri strip_prefix":           {block: "uri strip_prefix /rt\nREALTIME\nrespond next", warned: rewritten, says: "strip_prefix changed"},
		"uri replace":                {block: "uri replace /rt/ /tr/\nREALTIME\nrespond next", warned: rewritten, says: "uri changed"},
		"uri path_regexp":            {block: "uri path_regexp ^/rt/ /tr/\nREALTIME\nrespond next", warned: rewritten, says: "uri changed"},
		"in a route":                 {block: "route {\nrewrite * /index.html\nREALTIME\nfile_server\n}", warned: rewritten, says: "rewrite changed"},
		"php_fastcgi in a route":     {block: "route {\nphp_fastcgi 127.0.0.1:9\nREALTIME\n}", warned: rewritten, silent: true},
		"around a handle":            {block: "try_files {path} /index.html\nhandle /rt/* {\nREALTIME\n}\nfile_server", warned: rewritten, silent: true},
		"around a handle_path":       {block: "try_files {path} /index.html\nhandle_path /live/* {\nrealtime {\nprefix /\n}\n}\nfile_server", warned: rewritten, silent: true},
		"a matcher of one room":      {block: "rewrite /rt/lobby /index.html\nREALTIME\nfile_server", warned: rewritten, says: "rewrite changed"},
		"a matcher of other rooms":   {block: "rewrite /rt/private/* /index.html\nREALTIME\nfile_server", target: "/rt/private/x", says: " changed this path"},
		"a deeper handle":            {block: "handle /live/* {\nREALTIME\n}", target: "/live/lobby", warned: elsewhere, says: "set prefix /live/"},
		"a handle that has more":     {block: "handle /live/* {\nREALTIME\nfile_server\n}", target: "/live/lobby", warned: elsewhere, says: "set prefix /live/"},
		"another matcher":            {block: "realtime /live/* {\nprefix /rt/\n" + caddytest.Open + "}", target: "/live/lobby", warned: elsewhere, says: "set prefix /live/"},
		"a handle with a site after": {block: "handle /live/* {\nREALTIME\n}\nrespond next", target: "/live/lobby", warned: elsewhere, says: "set prefix /live/"},
		"handle_path":                {block: "handle_path /live/* {\nREALTIME\n}", target: "/live/lobby", warned: further, says: "set prefix /"},
		"handle_path, the same":      {block: "handle_path /rt/* {\nREALTIME\n}", warned: further, says: "set prefix /"},
	} {
		t.Run(name, func(t *testing.T) {
			block := strings.ReplaceAll(c.block, "REALTIME", "realtime {\n"+caddytest.Open+"}")
			s, logged := caddytest.StartLogged(t, "root * "+www(t)+"\n"+block)
			wantWarned(t, logged, c.warned)
			if c.target == "" {
				c.target = "/rt/lobby"
			}
			wantProblems(t, s, c.target, c.says, c.silent)
		})
	}
}

// wantWarned checks that of the messages only one is logged, and once; "": none is.
func wantWarned(t *testing.T, logged caddytest.Logged, warned string) {
	t.Helper()
	for _, message := range []string{rewritten, elsewhere, further} {
		if n := len(logged(message)); n > 1 || (n == 1) != (message == warned) {
			t.Errorf("%q is logged %d times", message, n)
		}
	}
}

// wantProblems asks for a room in all ways. Unless the handler is silent, each answer is a
// problem that says something.
func wantProblems(t *testing.T, s *caddytest.Site, target, says string, silent bool) {
	t.Helper()
	for _, ask := range []struct{ method, body, accept string }{
		{"GET", "", ""}, {"GET", "", "text/event-stream"}, {"POST", "hi", ""}, {"HEAD", "", ""},
	} {
		resp := s.Do(ask.method, target, ask.body, "Accept: "+ask.accept)
		body := caddytest.ReadAll(t, resp)
		if silent {
			continue
		}
		if resp.StatusCode != http.StatusNotFound || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s: %s %q", ask.method, resp.Status, body)
		}
		if ask.method != "HEAD" && !strings.Contains(body, says) {
			t.Errorf("%s: %q, want %q", ask.method, body, says)
		}
	}
}

func TestRoomsBesideRewritesAreServed(t *testing.T) {
	for name, c := range map[string]struct {
		block  string
		room   string // where a room is; /rt/lobby by default
		other  string // a path that is none
		answer string // what it has
		warned string // a message of the log; "": none
	}{
		"the remedy":              {block: "handle /rt/* {\nREALTIME\n}\nhandle {\ntry_files {path} /index.html\nfile_server\n}", other: "/any", answer: "app"},
		"handle_path and prefix":  {block: "handle_path /live/* {\nrealtime {\nprefix /\n}\n}\nrespond next", room: "/live/lobby", other: "/any", answer: "next"},
		"files of their names":    {block: "try_files {path} {path}/ {path}.html\nREALTIME\nfile_server", other: "/index", answer: "app"},
		"a matcher of files":      {block: "@file file\nrewrite @file /x{path}\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"a matcher of clients":    {block: "@bot header User-Agent *bot*\nrewrite @bot /x{path}\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"a matcher of methods":    {block: "@dav method PROPFIND\nrewrite @dav /x{path}\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"a block before it":       {block: "@host host other.localhost\nhandle @host {\nrewrite * /x\n}\nhandle {\nREALTIME\n}", other: "/any"},
		"a route before it":       {block: "@host host other.localhost\nroute @host {\nrewrite * /x\n}\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"an address in a rewrite": {block: "rewrite /rt/lobby /rt/{http.request.local.port}\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"a redirect":              {block: "redir /rt/old /new\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"an error":                {block: "error /rt/old 410\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"php_fastcgi after it":    {block: "REALTIME\nphp_fastcgi 127.0.0.1:9\nrespond next", other: "/index.html", answer: "next"},
		"a uri into the prefix":   {block: "handle /chat/* {\nuri replace /chat/ /rt/\nREALTIME\n}\nrespond next", room: "/chat/lobby", other: "/any", answer: "next"},
		"strip_prefix to rooms":   {block: "uri strip_prefix /api\nREALTIME\nrespond next", room: "/api/rt/lobby", other: "/any", answer: "next"},
		"a handle that has more":  {block: "handle_path /live/* {\nREALTIME\nrespond more\n}", room: "/live/rt/lobby", other: "/live/x", answer: "more", warned: further},
		"an asked prefix":         {block: "handle_path /api/* {\nrealtime /rt/* {\n" + caddytest.Open + "}\n}\nrespond next", room: "/api/rt/lobby", other: "/any", answer: "next"},
		"another site":            {block: "REALTIME\nrespond next\n}\nhttp://other.localhost:PORT {\ntry_files {path} /index.html\nfile_server", other: "/any", answer: "next"},
		"handle_path and more":    {block: "handle_path /app/* {\nREALTIME\nrespond more\n}\nrespond next", room: "/app/rt/lobby", other: "/app/x", answer: "more", warned: further},
		"handle":                  {block: "handle /live/* {\nrealtime {\nprefix /live/rt/\n}\nrespond more\n}", room: "/live/rt/lobby", other: "/live/x", answer: "more"},
		"one room":                {block: "handle /rt/news {\nREALTIME\n}\nrespond next", room: "/rt/news", other: "/any", answer: "next"},
		"some rooms":              {block: "@some path /rt/news /rt/n/*\nhandle @some {\nREALTIME\n}\nrespond next", room: "/rt/n/x", other: "/any", answer: "next"},
		"a regexp":                {block: "@some path_regexp ^/rt/[0-9]+$\nhandle @some {\nREALTIME\n}\nrespond next", room: "/rt/12", other: "/any", answer: "next"},
		"try_files after it":      {block: "route {\nREALTIME\ntry_files {path} /index.html\nfile_server\n}", other: "/any", answer: "app"},
		"rewrites elsewhere":      {block: "rewrite /old/* /index.html\n@not not path /rt/*\nrewrite @not /index.html\nREALTIME\nfile_server", other: "/any", answer: "app"},
		"rewrites of a query":     {block: "rewrite * ?{query}&limit=1\nREALTIME\nrespond next", other: "/any", answer: "next"},
		"rewrites into a room":    {block: "rewrite /chat /rt/lobby\nREALTIME\nrespond next", room: "/chat", other: "/any", answer: "next"},
		"a longer prefix later": {
			block: "@x header X-Y z\nrespond @x no\nrealtime /rt/* {\nhub a\n}\nrealtime /rt/deep/* {\nhub b\nroom lobby {\nhistory 0\n}\n}\nrespond next",
			room:  "/rt/deep/lobby", other: "/any", answer: "next",
		},
	} {
		t.Run(name, func(t *testing.T) {
			block := strings.ReplaceAll(c.block, "REALTIME", "realtime {\n"+caddytest.Open+"}")
			s, logged := caddytest.StartLogged(t, "root * "+www(t)+"\n"+block)
			wantWarned(t, logged, c.warned)
			if c.room == "" {
				c.room = "/rt/lobby"
			}
			if resp := s.Do("POST", c.room, "hi"); resp.StatusCode != http.StatusCreated {
				t.Errorf("POST: %s %q", resp.Status, caddytest.ReadAll(t, resp))
			}
			if got := caddytest.ReadAll(t, s.Do("GET", c.other, "")); got != c.answer {
				t.Errorf("%s: %q, want %q", c.other, got, c.answer)
			}
			if name == "a longer prefix later" {
				if p := s.Page("deep/lobby"); p.Room != "lobby" || len(p.Messages) != 0 {
					t.Errorf("the longer prefix did not get its room: %+v", p)
				}
			}
		})
	}
}
