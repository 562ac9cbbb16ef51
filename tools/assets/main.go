// Command assets makes scripts/dist from the sources in scripts. It bundles each script
// with the modules that it imports, minifies it with esbuild and then with terser, which
// npm ci in scripts/ installs, and lets it import other scripts by the names with their
// hashes. It compresses the result with zopfli, which must be installed (Debian's package
// of that name) and saves 3 % of what every visitor loads. With -check it writes
// nothing, needs no zopfli, and reports files that are not current. With -names it
// chooses the short forms of names anew, which takes minutes and saves 2 % after many
// changes. Run it in tools/:
//
//	go run ./assets [-check] [-names]
package main

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/evanw/esbuild/pkg/api"
)

// scripts are the scripts that pages load, each after those that it imports.
var scripts = []string{"realtime-http.js", "realtime.js", "realtime-socket.js", "realtime-chat.js", "realtime-value.js"}

// hashLength is how many digits of the SHA-256 are in a name. scripts.go has the same
// constant.
const hashLength = 10

func main() {
	check := flag.Bool("check", false, "write nothing, and fail if a file is not current")
	anew := flag.Bool("names", false, "choose the short forms of names anew")
	dir := flag.String("dir", "../scripts", "the folder with the sources and dist")
	flag.Parse()
	if err := run(*dir, *check, *anew); err != nil {
		fmt.Fprintln(os.Stderr, "assets:", err)
		os.Exit(1)
	}
}

func run(dir string, check, anew bool) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	b := builder{hashed: map[string]string{}}
	if b.names, err = newNames(dir, anew); err != nil {
		return err
	}
	if anew {
		if err := b.chooseNames(dir); err != nil {
			return err
		}
	}
	var stale []error
	for _, name := range scripts {
		content, err := b.build(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		b.hashed[name] = hashedName(name, content)
		file := filepath.Join(dir, "dist", name)
		switch {
		case current(file, content):
			continue
		case check:
			stale = append(stale, fmt.Errorf("scripts/dist/%s is not current: run go generate ./scripts", name))
		default:
			if err := write(file, content); err != nil {
				return err
			}
			fmt.Fprintf(os.Stderr, "scripts/dist/%s: %d bytes\n", name, len(content))
		}
	}
	return errors.Join(append(stale, strangers(filepath.Join(dir, "dist")))...)
}

// current reports whether the file and its compressed copy have the content.
func current(file string, content []byte) bool {
	plain, err := os.ReadFile(file)
	if err != nil || !bytes.Equal(plain, content) {
		return false
	}
	f, err := os.Open(file + ".gz")
	if err != nil {
		return false
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return false
	}
	small, err := io.ReadAll(z)
	return err == nil && bytes.Equal(small, content)
}

// write writes the file and its compressed copy.
func write(file string, content []byte) error {
	if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o750), os.WriteFile(file, content, 0o644)); err != nil {
		return err
	}
	if out, err := exec.Command("zopfli", "--i1000", file).CombinedOutput(); err != nil {
		return fmt.Errorf("compressing %s: %w %s", file, err, out)
	}
	return nil
}

// strangers returns an error for each file in dist that has no source.
func strangers(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	var errs []error
	for _, f := range files {
		if !slices.Contains(scripts, strings.TrimSuffix(f.Name(), ".gz")) {
			errs = append(errs, fmt.Errorf("scripts/dist/%s has no source: remove it", f.Name()))
		}
	}
	return errors.Join(errs...)
}

func hashedName(name string, content []byte) string {
	sum := sha256.Sum256(content)
	return strings.TrimSuffix(name, ".js") + "." + hex.EncodeToString(sum[:])[:hashLength] + ".js"
}

// builder builds the scripts, one after the other.
type builder struct {
	hashed   map[string]string // by name, the hashed name of each script built so far
	names    *names
	choosing bool // whether short names are being chosen, and not used yet
}

// build returns a script, minified. The script imports the scripts that were built
// before it under their hashed names.
func (b *builder) build(file string) ([]byte, error) {
	result := api.Build(api.BuildOptions{
		EntryPoints:      []string{file},
		Bundle:           true,
		Format:           api.FormatESModule,
		Target:           api.ES2022,
		Charset:          api.CharsetUTF8,
		MinifySyntax:     true,
		MinifyWhitespace: true,
		Define:           map[string]string{"import.meta.http": `"-/` + b.hashed["realtime-http.js"] + `"`},
		LegalComments:    api.LegalCommentsNone,
		Plugins: []api.Plugin{
			{Name: "scripts stay apart", Setup: b.externalize},
			{Name: "sources", Setup: shorten},
		},
	})
	if problems := append(result.Errors, result.Warnings...); len(problems) > 0 {
		lines := api.FormatMessages(problems, api.FormatMessagesOptions{})
		return nil, fmt.Errorf("building %s: %s", file, strings.Join(lines, ""))
	}
	script, err := squeeze(filepath.Dir(file), result.OutputFiles[0].Contents)
	if err != nil {
		return nil, err
	}
	names, err := b.names.mark(file, script)
	if err != nil {
		return nil, err
	}
	if err := b.names.complete(names); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if b.choosing {
		b.names.choose(names)
	}
	return b.names.apply(names), nil
}

// chooseNames chooses the private names, first of all in the script that every
// page loads, then in the largest one.
func (b *builder) chooseNames(dir string) error {
	b.choosing = true
	defer func() { b.choosing = false }()
	b.hashed["realtime-http.js"] = hashedName("realtime-http.js", nil)
	for _, name := range []string{"realtime.js", "realtime-chat.js"} {
		if _, err := b.build(filepath.Join(dir, name)); err != nil {
			return err
		}
		b.hashed[name] = hashedName(name, nil)
	}
	return b.names.write()
}

// squeeze minifies a script with terser, after esbuild: it is 3 % smaller, compressed.
func squeeze(dir string, script []byte) ([]byte, error) {
	terser := exec.Command("node", filepath.Join(dir, "node_modules/terser/bin/terser"),
		"--module", "--compress", "passes=4,inline=1,lhs_constants=false", "--ecma", "2022")
	var faults bytes.Buffer
	terser.Stdin, terser.Stderr = bytes.NewReader(script), &faults
	out, err := terser.Output()
	if err != nil {
		return nil, fmt.Errorf("running terser (npm ci in scripts/ installs it): %w %s", err, faults.Bytes())
	}
	return append(bytes.TrimRight(out, "\n"), '\n'), nil
}

func (b *builder) externalize(p api.PluginBuild) {
	p.OnResolve(api.OnResolveOptions{Filter: `\.js$`}, func(a api.OnResolveArgs) (api.OnResolveResult, error) {
		name := path.Base(a.Path)
		switch {
		case a.Kind == api.ResolveEntryPoint || !slices.Contains(scripts, name):
			return api.OnResolveResult{}, nil
		case b.hashed[name] == "":
			return api.OnResolveResult{}, fmt.Errorf("%s is imported before it is built", name)
		default:
			return api.OnResolveResult{Path: "./" + b.hashed[name], External: true}, nil
		}
	})
}

// template matches a style sheet in a template literal: css`…` or /* css */ `…`.
// Literals with substitutions or escapes do not match.
var template = regexp.MustCompile("(\\bcss|/\\*\\s*css\\s*\\*/)(\\s*`)([^`\\\\$]*)`")

// declaration is a field without a value, which is there for its type.
var declaration = regexp.MustCompile(`(?m)^  \w+;$`)

// shorten does to the sources what neither esbuild nor terser does.
func shorten(b api.PluginBuild) {
	b.OnLoad(api.OnLoadOptions{Filter: `\.js$`}, func(a api.OnLoadArgs) (api.OnLoadResult, error) {
		source, err := os.ReadFile(a.Path)
		if err != nil {
			return api.OnLoadResult{}, err
		}
		script := template.ReplaceAllStringFunc(declaration.ReplaceAllString(string(source), ""), minifyTemplate)
		return api.OnLoadResult{Contents: &script, Loader: api.LoaderJS}, nil
	})
}

// minifyTemplate minifies the style sheet in a template literal. A style sheet that is
// incomplete, or would need escapes, is returned as it is.
func minifyTemplate(literal string) string {
	m := template.FindStringSubmatch(literal)
	result := api.Transform(m[3], api.TransformOptions{
		Loader: api.LoaderCSS, Charset: api.CharsetUTF8, LegalComments: api.LegalCommentsNone,
		MinifySyntax: true, MinifyWhitespace: true,
	})
	css := strings.TrimSpace(string(result.Code))
	if len(result.Errors)+len(result.Warnings) > 0 || strings.ContainsAny(css, "`\\$") {
		return literal
	}
	return m[1] + m[2] + css + "`"
}
