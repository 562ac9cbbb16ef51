package scripts_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-realtime/realtime/protocol"
	"github.com/caddy-realtime/realtime/scripts"
)

func asset(t *testing.T, name string) *scripts.Asset {
	t.Helper()
	for _, a := range scripts.Assets() {
		if a.Name == name {
			return a
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}

// TestBudgets bounds the sizes of the scripts, as they are served to browsers.
func TestBudgets(t *testing.T) {
	t.Logf("%-18s %9s %9s %9s", "name", "minified", "gzip", "zstd")
	size := make(map[string]int)
	for _, a := range scripts.Assets() {
		size[a.Name] = len(a.Bytes("gzip"))
		t.Logf("%-18s %9d %9d %9d", a.Name, len(a.Bytes("")), size[a.Name], len(a.Bytes("zstd")))
	}
	for _, budget := range []struct {
		names string
		most  int
	}{
		{"realtime.js", 5150},
		{"realtime.js realtime-chat.js", 13_500},
		{"realtime-http.js", 1800},
		{"realtime-socket.js", 1500},
		{"realtime-value.js", 1100},
	} {
		sum := 0
		for name := range strings.FieldsSeq(budget.names) {
			sum += size[asset(t, name).Name]
		}
		if sum > budget.most {
			t.Errorf("%s: %d bytes, the budget is %d", budget.names, sum, budget.most)
		}
	}
}

// The elements import the very file that there is, and nothing else.
func TestImports(t *testing.T) {
	imports := regexp.MustCompile(`(?:from|import)\s*\(?"([^"]+)"|import\(new URL\("([^"]+)",`)
	for _, a := range scripts.Assets() {
		want := []string{"./" + asset(t, "realtime.js").Hashed}
		switch a.Name {
		case "realtime.js":
			want = []string{"-/" + asset(t, "realtime-http.js").Hashed} // below the hub
		case "realtime-http.js":
			want = nil
		}
		var got []string
		for _, m := range imports.FindAllStringSubmatch(string(a.Bytes("")), -1) {
			got = append(got, m[1]+m[2])
		}
		if got = slices.Compact(got); !slices.Equal(got, want) {
			t.Errorf("%s imports %q, want %q", a.Name, got, want)
		}
		if !bytes.HasSuffix(a.Bytes(""), []byte("\n")) {
			t.Errorf("%s has no newline at its end", a.Name)
		}
	}
}

func TestIntegrity(t *testing.T) {
	for _, a := range scripts.Assets() {
		sum := sha512.Sum384(a.Bytes(""))
		if want := "sha384-" + base64.StdEncoding.EncodeToString(sum[:]); a.Integrity != want {
			t.Errorf("%s: %s, want %s", a.Name, a.Integrity, want)
		}
	}
}

// serve asks for an asset with headers given as "Name: value".
func serve(t *testing.T, method, name string, accepted []string, headers ...string) (*http.Response, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), method, "/rt/-/"+name, nil)
	for _, h := range headers {
		k, v, _ := strings.Cut(h, ": ")
		r.Header.Set(k, v)
	}
	w := httptest.NewRecorder()
	err := scripts.Serve(w, r, name, accepted)
	if err != nil && w.Body.Len() > 0 {
		t.Errorf("wrote %q, and refused", w.Body)
	}
	return w.Result(), err
}

func decode(t *testing.T, resp *http.Response) string {
	t.Helper()
	var r io.Reader = resp.Body
	var err error
	switch coding := resp.Header.Get("Content-Encoding"); coding {
	case "gzip":
		r, err = gzip.NewReader(resp.Body)
	case "zstd":
		r, err = zstd.NewReader(resp.Body)
	case "":
	default:
		t.Fatalf("coding %q", coding)
	}
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestServe(t *testing.T) {
	chat := asset(t, "realtime-chat.js")
	tags := make(map[string]string) // to the coding
	for _, test := range []struct {
		name     string
		accepted []string
		coding   string
	}{
		{chat.Name, nil, ""},
		{chat.Name, []string{"br", "gzip", "zstd"}, "gzip"},
		{chat.Name, []string{"zstd", "gzip"}, "zstd"},
		{chat.Name, []string{"identity", "gzip"}, ""},
		{chat.Name, []string{"br", "*"}, ""},
		{chat.Hashed, nil, ""},
		{chat.Hashed, []string{"gzip"}, "gzip"},
	} {
		resp, err := serve(t, http.MethodGet, test.name, test.accepted)
		if err != nil {
			t.Fatal(err)
		}
		cache := "no-cache"
		if test.name == chat.Hashed {
			cache = "public, max-age=31536000, immutable"
		}
		for name, want := range map[string]string{
			"Content-Type": "text/javascript; charset=utf-8", "X-Content-Type-Options": "nosniff",
			"Vary": "Accept-Encoding", "Access-Control-Allow-Origin": "*",
			"Cross-Origin-Resource-Policy": "cross-origin", "Cache-Control": cache, "Content-Encoding": test.coding,
		} {
			if got := resp.Header.Get(name); got != want {
				t.Errorf("%s, %q: %s is %q, want %q", test.name, test.accepted, name, got, want)
			}
		}
		if resp.ContentLength != int64(len(chat.Bytes(test.coding))) {
			t.Errorf("%s, %q: length %d", test.name, test.accepted, resp.ContentLength)
		}
		if got := decode(t, resp); got != string(chat.Bytes("")) {
			t.Errorf("%s, %q: %q", test.name, test.accepted, got)
		}
		tag := resp.Header.Get("ETag")
		if before, seen := tags[tag]; !strings.HasPrefix(tag, `"`) || seen && before != test.coding {
			t.Errorf("tag %s of %q is also that of %q", tag, test.coding, before)
		}
		tags[tag] = test.coding

		again, err := serve(t, http.MethodGet, test.name, test.accepted, `If-None-Match: "x", W/`+tag)
		if err != nil || again.StatusCode != http.StatusNotModified || decode(t, again) != "" || again.Header.Get("ETag") != tag ||
			again.Header.Get("Cache-Control") != cache || again.Header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s again: %v %v, %v", test.name, again.Status, again.Header, err)
		}
		head, err := serve(t, http.MethodHead, test.name, test.accepted)
		if err != nil || head.StatusCode != 200 || head.ContentLength != resp.ContentLength || head.Header.Get("ETag") != tag {
			t.Errorf("HEAD %s: %v %v, %v", test.name, head.Status, head.Header, err)
		}
	}
	if len(tags) != 3 {
		t.Errorf("tags %v, want one for each coding", tags)
	}
}

// The tag of one coding is not good for another.
func TestTagOfAnotherCoding(t *testing.T) {
	chat := asset(t, "realtime-chat.js")
	gz, _ := serve(t, http.MethodGet, chat.Name, []string{"gzip"})
	if resp, _ := serve(t, http.MethodGet, chat.Name, nil, "If-None-Match: "+gz.Header.Get("ETag")); resp.StatusCode != 200 {
		t.Errorf("another coding's tag: %s", resp.Status)
	}
}

func TestRefused(t *testing.T) {
	hashed := asset(t, "realtime.js").Hashed
	for _, test := range []struct {
		method, name string
		status       int
	}{
		{"GET", "", 404},
		{"GET", "nothing.js", 404},
		{"GET", "realtime", 404},
		{"GET", "REALTIME.JS", 404},
		{"GET", "dist/realtime.js", 404},
		{"GET", "../scripts.go", 404},
		{"GET", "realtime.0123456789.js", 404},
		{"GET", strings.Replace(hashed, "realtime", "realtime-chat", 1), 404},
		{"POST", "nothing.js", 404},
		{"POST", "realtime.js", 405},
		{"OPTIONS", hashed, 405},
	} {
		resp, err := serve(t, test.method, test.name, nil)
		var p *protocol.Problem
		if !errors.As(err, &p) || p.Status != test.status {
			t.Errorf("%s %q: %v, want %d", test.method, test.name, err, test.status)
		}
		if allow := resp.Header.Get("Allow"); (allow == "GET, HEAD") != (test.status == 405) {
			t.Errorf("%s %q: Allow %q", test.method, test.name, allow)
		}
		if resp.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s %q: %v", test.method, test.name, resp.Header)
		}
	}
}
