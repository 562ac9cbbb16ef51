package realtime

import (
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/caddy-realtime/realtime"

// mayImport says what each package may import outside of the standard library, below
// the module or by its whole path. See docs/ARCHITECTURE.md.
var mayImport = map[string]string{
	"hub/ranking":         "",
	"hub/deque":           "",
	"hub/receipts":        "",
	"hub/values":          "",
	"hub/names":           "golang.org/x/text/unicode/norm",
	"hub/secret":          "",
	"hub/limit":           "golang.org/x/time/rate",
	"hub/settings":        "hub/limit hub/names",
	"hub/presence":        "hub/ranking",
	"hub/message":         "hub/presence hub/names",
	"hub":                 hubParts + " hub/presence hub/receipts hub/values hub/ranking hub/deque",
	"access":              "hub hub/message hub/names",
	"access/backend":      "",
	"access/link":         "hub/names hub/ranking",
	"access/guest":        "",
	"access/token":        "hub/names github.com/golang-jwt/jwt/v5 github.com/go-jose/go-jose/v4 golang.org/x/text/unicode/norm",
	"engine/enginetest":   "hub " + hubParts,
	"engine/bolt":         "hub " + hubParts + " hub/receipts hub/values internal/durable engine/bolt/journal go.etcd.io/bbolt go.etcd.io/bbolt/errors github.com/caddyserver/caddy/v2 github.com/caddyserver/caddy/v2/caddyconfig/caddyfile github.com/dustin/go-humanize",
	"engine/bolt/journal": "golang.org/x/sys/unix",
	"protocol":            "hub " + hubParts,
	"internal/outbound":   "hub " + hubParts + " golang.org/x/sys/unix",
	"internal/detach":     "hub " + hubParts + " internal/outbound internal/netpoll",
	"internal/netpoll":    "golang.org/x/sys/unix",
	"internal/durable":    "",
	"internal/freeport":   "",
	"ws/frame":            "",
	"ws":                  "hub " + hubParts + " protocol internal/detach internal/outbound internal/netpoll ws/frame github.com/coder/websocket",
	"sse":                 "hub " + hubParts + " protocol internal/detach internal/outbound internal/netpoll",
	"poll":                "hub " + hubParts + " protocol",
	"scripts":             "protocol github.com/klauspost/compress/gzip github.com/klauspost/compress/zstd",
	"internal/ui":         "sse scripts golang.org/x/text/language",
	"internal/serve":      "hub " + hubParts + " protocol internal/outbound internal/netpoll ws sse poll internal/ui golang.org/x/net/idna",
}

// hubParts are the parts of the hub that its users may import, too.
const hubParts = "hub/message hub/settings hub/limit hub/names hub/secret"

// mustNotKnow says what the core must not even see of the standard library.
var mustNotKnow = map[string]string{
	"hub/presence":      "net/http net os sync",
	"hub/message":       "net/http net os",
	"hub":               "net/http net os",
	"access":            "net/http net os sync",
	"access/backend":    "net/http net os sync",
	"access/link":       "net/http net os",
	"access/guest":      "",
	"internal/outbound": "net/http",
	"internal/detach":   "net/http",
	"internal/netpoll":  "net/http",
	"ws/frame":          "net/http net",
}

// TestImports checks which packages each package imports.
func TestImports(t *testing.T) {
	ruled := make(map[string]bool)
	for _, p := range listPackages(t) {
		checkProgram(t, p)
		name := strings.TrimPrefix(p.ImportPath, module+"/")
		may, ok := mayImport[name]
		if !ok {
			continue
		}
		ruled[name] = true
		for _, path := range p.Imports {
			i := strings.TrimPrefix(path, module+"/")
			standard := i == path && !strings.Contains(strings.Split(i, "/")[0], ".")
			if !standard && !slices.Contains(strings.Fields(may), i) {
				t.Errorf("%s imports %s, which it may not", name, i)
			}
			if slices.Contains(strings.Fields(mustNotKnow[name]), i) {
				t.Errorf("%s imports %s, which it must not know", name, i)
			}
		}
	}
	for name := range mayImport {
		if !ruled[name] {
			t.Errorf("there is no package %s any more: change the rules", name)
		}
	}
}

// checkProgram checks that nothing but programs imports the root, nothing but the root,
// programs and engines Caddy, and nothing the helpers of tests.
func checkProgram(t *testing.T, p listed) {
	t.Helper()
	importsBelow := func(prefix string) bool {
		return slices.ContainsFunc(p.Imports, func(i string) bool { return strings.HasPrefix(i, prefix) })
	}
	if importsBelow(module + "/test/") {
		t.Errorf("%s imports a package below test, which only tests may", p.ImportPath)
	}
	if p.ImportPath == module || isProgram(p.ImportPath) {
		return
	}
	if slices.Contains(p.Imports, module+"/internal/freeport") {
		t.Errorf("%s imports internal/freeport, which only tests and benchmarks may", p.ImportPath)
	}
	if slices.Contains(p.Imports, module) {
		t.Errorf("%s imports the root package, which nothing may", p.ImportPath)
	}
	if !importsBelow("github.com/caddyserver/") {
		return
	}
	if !strings.HasPrefix(p.ImportPath, module+"/engine/") {
		t.Errorf("%s imports Caddy, which only the root package and engines may know", p.ImportPath)
		return
	}
	for _, file := range p.GoFiles {
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(p.Dir, file), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		if file != "module.go" && slices.ContainsFunc(parsed.Imports, func(i *ast.ImportSpec) bool {
			return strings.HasPrefix(i.Path.Value, `"github.com/caddyserver/`)
		}) {
			t.Errorf("%s: %s imports Caddy, which only module.go may", p.ImportPath, file)
		}
	}
}

// isProgram reports whether a package is a program or a test of the whole.
func isProgram(path string) bool {
	return strings.HasPrefix(path, module+"/cmd/") || strings.HasPrefix(path, module+"/bench") || strings.HasPrefix(path, module+"/test/")
}

type listed struct {
	ImportPath, Dir  string
	Imports, GoFiles []string
}

func listPackages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Dir,Imports,GoFiles", "./...").Output()
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
