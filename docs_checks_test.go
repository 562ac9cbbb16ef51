package realtime

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"
	"github.com/dustin/go-humanize"

	"github.com/caddy-realtime/realtime/hub/settings"
	"github.com/caddy-realtime/realtime/scripts"
	"github.com/caddy-realtime/realtime/test/caddytest"
	"github.com/caddy-realtime/realtime/test/recipes"
)

func TestDocsConfigurations(t *testing.T) {
	recipes.SetSecrets(t)
	for _, file := range docFiles(t) {
		for _, b := range docBlocks(t, file) {
			at := fmt.Sprintf("%s:%d", file, b.line)
			switch language, kind, _ := strings.Cut(b.info, " "); {
			case language == "caddyfile":
				config, warnings, err := caddytest.Adapt(b.text)
				if err != nil {
					t.Errorf("%s: %v", at, err)
					continue
				}
				for _, w := range warnings {
					t.Errorf("%s: %s", at, w)
				}
				docValidate(t, at, config)
			case language == "json" && kind == "config":
				docValidate(t, at, []byte(b.text))
			case language == "json":
				for line := range strings.Lines(b.text) {
					if !json.Valid([]byte(line)) {
						t.Errorf("%s: not JSON: %s", at, line)
					}
				}
			}
		}
	}
}

// docValidate provisions a configuration, as caddy validate does.
func docValidate(t *testing.T, at string, config []byte) {
	t.Helper()
	var c caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &c); err != nil {
		t.Errorf("%s: %v", at, err)
		return
	}
	if err := caddy.Validate(&c); err != nil {
		t.Errorf("%s: %v", at, err)
	}
}

// TestDocsOptions holds the README's tables of options against the syntax in
// the comment of UnmarshalCaddyfile, the fields, and the defaults.
func TestDocsOptions(t *testing.T) {
	written, fields := docOptions(t)
	forms := docSyntax(t)
	for _, form := range forms {
		if _, ok := written[form]; !ok {
			t.Errorf("README has no row for the option %q", form)
		}
	}
	for form := range written {
		if !slices.Contains(forms, form) {
			t.Errorf("README has a row for %q, which is no option", form)
		}
	}
	have := docFields(reflect.TypeFor[Handler](), "")
	for _, field := range have {
		if !slices.Contains(fields, field) {
			t.Errorf("README does not name the JSON field %s", field)
		}
	}
	for _, field := range fields {
		if !slices.Contains(have, field) {
			t.Errorf("README names the JSON field %q, which there is not", field)
		}
	}

	d := settings.Defaults()
	for option, want := range map[string]string{
		"max_message_size <size>|off":          humanize.IBytes(uint64(d.MaxMessageSize)),
		"max_rooms <n>|off":                    strconv.Itoa(d.MaxRooms),
		"max_connections <n>|off":              strconv.Itoa(d.MaxConnections),
		"max_connections_per_address <n>|off":  strconv.Itoa(d.MaxPerAddress),
		"history_memory <size>|off":            humanize.IBytes(uint64(d.HistoryMemory)),
		"heartbeat <duration>|off":             time.Duration(defaultHeartbeat).String(),
		"prefix <path>":                        defaultPrefix,
		"rate <n>[/s|/m|/h] [<burst>] | off":   fmt.Sprintf("%g/s %d", d.Rate.PerSecond, d.Rate.Burst),
		"room.history <count>|off [<age>|off]": fmt.Sprintf("%d %gh", d.History.Count, d.History.Age.Hours()),
	} {
		if got := strings.ReplaceAll(written[option], ",", ""); !strings.Contains(got, want) {
			t.Errorf("README: the default of %q is %q, want %s", option, got, want)
		}
	}
}

// docOptions reads the README's tables of options: the defaults by Caddyfile form, and the
// JSON fields.
func docOptions(t *testing.T) (written map[string]string, fields []string) {
	t.Helper()
	written = make(map[string]string)
	section, _, _ := strings.Cut(docSection(docRead(t, "README.md"), "## Options"), "\n## ")
	block := "" // before the forms of a block's table
	for line := range strings.Lines(section) {
		if in, ok := strings.CutPrefix(line, "In the block of "); ok {
			name, _, _ := strings.Cut(in[strings.Index(in, "`")+1:], "`")
			block = name + "."
		}
		cells := strings.Split(strings.ReplaceAll(strings.TrimSpace(line), `\|`, "\x00"), "|")
		if len(cells) != 6 || !strings.Contains(cells[1], "`") {
			continue
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(strings.ReplaceAll(cells[i], "\x00", "|"))
		}
		form := block + strings.Trim(cells[1], "`")
		if _, again := written[form]; again {
			t.Errorf("README: %s has two rows", form)
		}
		written[form] = cells[3]
		if cells[2] == "" {
			continue // a block, whose own options have fields
		}
		for field := range strings.SplitSeq(cells[2], ",") {
			fields = append(fields, strings.Trim(strings.TrimSpace(field), "`"))
		}
	}
	return written, fields
}

// TestDocsSizes holds the tables of the scripts' sizes against the scripts.
func TestDocsSizes(t *testing.T) {
	kB := func(n int) string { return fmt.Sprintf("%.1f kB", float64(n)/1000) }
	for file, codings := range map[string][]string{"README.md": {"gzip"}, "docs/CLIENT.md": {"gzip", "zstd", ""}} {
		text := docRead(t, file)
		for _, a := range scripts.Assets() {
			row := "\n| `" + a.Name + "` |"
			for _, coding := range codings {
				row += " " + kB(len(a.Bytes(coding))) + " |"
			}
			if !strings.Contains(text, row) {
				t.Errorf("%s has no row %q", file, strings.TrimSpace(row))
			}
		}
	}
}

// docSection returns what follows a heading.
func docSection(text, heading string) string {
	_, after, _ := strings.Cut(text, "\n"+heading+"\n")
	return after
}

// docSyntax returns the subdirectives as the comment of UnmarshalCaddyfile has
// them, those of a block with its name before them, like "room.".
func docSyntax(t *testing.T) []string {
	t.Helper()
	_, block, ok := strings.Cut(docRead(t, "caddyfile.go"), "//\trealtime [<matcher>] {\n")
	block, _, ok2 := strings.Cut(block, "\n//\t}\n")
	if !ok || !ok2 {
		t.Fatal("caddyfile.go has no syntax in the comment of UnmarshalCaddyfile")
	}
	var forms []string
	inside := ""
	for line := range strings.Lines(block) {
		form := strings.Join(strings.Fields(strings.TrimPrefix(line, "//")), " ")
		if head, opens := strings.CutSuffix(form, " {"); opens {
			forms = append(forms, head)
			inside, _, _ = strings.Cut(head, " ")
			inside += "."
		} else if form == "}" {
			inside = ""
		} else {
			forms = append(forms, inside+form)
		}
	}
	return forms
}

// docFields returns the JSON fields of a struct: a.b for b in a, a[].b for b in
// the elements of a.
func docFields(typ reflect.Type, prefix string) []string {
	var fields []string
	for f := range typ.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		elem, under := f.Type, prefix+name+"."
		if elem.Kind() == reflect.Pointer {
			elem = elem.Elem()
		} else if elem.Kind() == reflect.Slice {
			elem, under = elem.Elem(), prefix+name+"[]."
		}
		if elem.Kind() == reflect.Struct {
			fields = append(fields, docFields(elem, under)...)
			continue
		}
		fields = append(fields, prefix+name)
	}
	return fields
}

var (
	docLink  = regexp.MustCompile(`\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"`)
	docFence = regexp.MustCompile("(?ms)^```.*?^```$")
	docCode  = regexp.MustCompile("`[^`\n]*`")
)

// TestDocsLinks looks whether what the documents link to is there.
func TestDocsLinks(t *testing.T) {
	for _, file := range docFiles(t) {
		text := docCode.ReplaceAllString(docFence.ReplaceAllString(docRead(t, file), ""), "")
		for _, m := range docLink.FindAllStringSubmatch(text, -1) {
			link := m[1] + m[2]
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			path, anchor, _ := strings.Cut(link, "#")
			target := file
			if path != "" {
				target = filepath.Join(filepath.Dir(file), path)
			}
			if _, err := os.Stat(target); err != nil {
				t.Errorf("%s links to %s: %v", file, link, err)
				continue
			}
			if anchor != "" && !slices.Contains(docAnchors(docRead(t, target)), anchor) {
				t.Errorf("%s links to %s, which has no such heading", file, link)
			}
		}
	}
}

// docAnchors returns the anchors that headings get where Markdown is shown.
func docAnchors(text string) []string {
	var anchors []string
	for line := range strings.Lines(docFence.ReplaceAllString(text, "")) {
		title := strings.TrimLeft(line, "#")
		if title == line || !strings.HasPrefix(title, " ") {
			continue
		}
		anchors = append(anchors, strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case r == '-' || r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
				return unicode.ToLower(r)
			}
			return -1
		}, strings.TrimSpace(title)))
	}
	return anchors
}
