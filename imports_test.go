package realtime

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestImports checks which packages each package may import. See
// docs/ARCHITECTURE.md.
func TestImports(t *testing.T) {
	const module = "github.com/caddy-realtime/realtime"
	part := func(name string) string { return module + "/hub/" + name }
	presence, message := part("presence"), part("message")
	hub, protocol, outbound := module+"/hub", module+"/protocol", module+"/internal/outbound"
	netpoll, frame := module+"/internal/netpoll", module+"/ws/frame"
	sse, scripts := module+"/sse", module+"/scripts"
	// Who may import the hub may import the packages of its words, too.
	words := []string{message, part("secret"), part("settings"), part("limit"), part("names")}
	// What each package may import outside of the standard library.
	allowed := map[string][]string{
		part("ranking"):               {},
		part("deque"):                 {},
		part("receipts"):              {},
		part("names"):                 {},
		part("secret"):                {},
		part("limit"):                 {"golang.org/x/time/rate"},
		part("settings"):              {part("limit"), part("names")},
		presence:                      {part("ranking")},
		message:                       {presence},
		hub:                           {presence, message, part("settings"), part("limit"), part("names"), part("secret"), part("receipts"), part("ranking"), part("deque")},
		protocol:                      {hub},
		module + "/engine/enginetest": {hub},
		outbound:                      {hub, "golang.org/x/sys/unix"},
		netpoll:                       {"golang.org/x/sys/unix"},
		frame:                         {},
		module + "/ws":                {hub, protocol, outbound, netpoll, frame, "github.com/coder/websocket"},
		sse:                           {hub, protocol, outbound, netpoll},
		module + "/poll":              {hub, protocol},
		module + "/internal/serve":    {module + "/internal/ui", hub, protocol, outbound, netpoll, module + "/ws", module + "/sse", module + "/poll", "golang.org/x/net/idna"},

		scripts: {protocol, "github.com/klauspost/compress/gzip", "github.com/klauspost/compress/zstd"},

		module + "/internal/ui": {sse, scripts, "golang.org/x/text/language"},
	}
	// What the core must not even see of the standard library.
	forbidden := map[string][]string{
		presence: {"net/http", "net", "os", "sync"},
		message:  {"net/http", "net", "os"},
		hub:      {"net/http", "net", "os"},
		outbound: {"net/http"},
		netpoll:  {"net/http"},
		frame:    {"net/http", "net"},
	}
	for _, p := range listPackages(t) {
		if p.ImportPath != module && slices.Contains(p.Imports, module) && !isProgram(p.ImportPath, module) {
			t.Errorf("%s imports the root package, which nothing may", p.ImportPath)
		}
		caddy := slices.ContainsFunc(p.Imports, func(i string) bool { return strings.HasPrefix(i, "github.com/caddyserver/") })
		if caddy && p.ImportPath != module && !isProgram(p.ImportPath, module) && !strings.HasPrefix(p.ImportPath, module+"/engine/") {
			t.Errorf("%s imports Caddy, which only the root package and engines may know", p.ImportPath)
		}
		may, ruled := allowed[p.ImportPath]
		if !ruled {
			continue
		}
		for _, i := range p.Imports {
			standard := !strings.Contains(strings.Split(i, "/")[0], ".")
			ofHub := slices.Contains(words, i) && slices.Contains(may, hub)
			if !standard && !slices.Contains(may, i) && !ofHub {
				t.Errorf("%s imports %s, which it may not", p.ImportPath, i)
			}
			if slices.Contains(forbidden[p.ImportPath], i) {
				t.Errorf("%s imports %s, which it must not know", p.ImportPath, i)
			}
		}
		delete(allowed, p.ImportPath)
	}
	for p := range allowed {
		t.Errorf("there is no package %s any more: change the rules", p)
	}
}

// isProgram reports whether a package is a program or a test of the whole.
func isProgram(path, module string) bool {
	return strings.HasPrefix(path, module+"/cmd/") || strings.HasPrefix(path, module+"/bench")
}

type listed struct {
	ImportPath string
	Imports    []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
