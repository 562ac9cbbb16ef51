// Package scripts holds the scripts that pages load, minified, and serves them
// below the prefix of a handler:
//
//	<script type="module" src="/rt/-/realtime-chat.js"></script>
//	<realtime-chat room="lobby"></realtime-chat>
//
// The sources are beside this file. tools/assets makes dist from them; dist is kept in
// the repository, so that building Caddy needs no tools except Go.
package scripts

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/caddy-realtime/realtime/protocol"
)

//go:generate go -C ../tools run ./assets

//go:embed dist/*.js dist/*.js.gz
var dist embed.FS

// Codings are the content codings that are available, the preferred one first: for
// scripts of this size gzip is smaller.
var Codings = []string{"gzip", "zstd"}

// Asset is a script. It is immutable, and safe for concurrent use.
type Asset struct {
	// Name is its name in every version, like realtime.js.
	Name string
	// Hashed is the name of exactly these bytes, like realtime.3f9a1c07b2.js.
	Hashed string
	// Integrity is the value for the attribute integrity (W3C, "Subresource
	// Integrity").
	Integrity string
	// Late says that pages do not load it: another script does, when it is needed.
	Late bool

	hash  string
	plain []byte
	gzip  []byte // from dist, compressed as far as possible
	zstd  func() []byte
}

// Assets returns all assets, in the order of their names. The slice is shared and must
// not be changed.
var Assets = sync.OnceValue(func() []*Asset {
	files, err := dist.ReadDir("dist")
	if err != nil {
		panic(err) // it is part of the program
	}
	var all []*Asset
	for _, file := range files {
		name := file.Name()
		if strings.HasSuffix(name, ".gz") {
			continue
		}
		content, err := dist.ReadFile("dist/" + name)
		if err != nil {
			panic(err)
		}
		small, err := dist.ReadFile("dist/" + name + ".gz")
		if err != nil {
			panic(err)
		}
		all = append(all, newAsset(name, content, small))
	}
	return all
})

// hashLength is how many digits of the SHA-256 are in a name. tools/assets has the same
// constant.
const hashLength = 10

func newAsset(name string, content, small []byte) *Asset {
	short, long := sha256.Sum256(content), sha512.Sum384(content)
	hash := hex.EncodeToString(short[:])[:hashLength]
	return &Asset{
		Name:      name,
		Hashed:    strings.TrimSuffix(name, ".js") + "." + hash + ".js",
		Late:      name == "realtime-http.js",
		Integrity: "sha384-" + base64.StdEncoding.EncodeToString(long[:]),
		hash:      hash,
		plain:     content,
		gzip:      small,
		zstd:      sync.OnceValue(func() []byte { return zstandard(content) }),
	}
}

// Bytes returns the asset in a content coding: gzip, zstd, or else plain. The result is
// shared and must not be changed.
func (a *Asset) Bytes(coding string) []byte {
	switch coding {
	case "gzip":
		return a.gzip
	case "zstd":
		return a.zstd()
	default:
		return a.plain
	}
}

// Serve answers a request for an asset by one of its two names. Browsers cache the one
// with the hash for good, and revalidate the other each time. accepted are the content
// codings that the client accepts, the best one first. Pages of any origin may load
// assets. An error is a *protocol.Problem, and nothing has been written.
func Serve(w http.ResponseWriter, r *http.Request, name string, accepted []string) error {
	header := w.Header()
	header.Set("Access-Control-Allow-Origin", "*")
	header.Set("Cross-Origin-Resource-Policy", "cross-origin")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store") // for errors
	asset := find(name)
	if asset == nil {
		return &protocol.Problem{Status: http.StatusNotFound, Title: "not found", Detail: "there is nothing here"}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		header.Set("Allow", "GET, HEAD")
		return &protocol.Problem{
			Status: http.StatusMethodNotAllowed, Title: "method not allowed", Detail: "a script accepts GET, HEAD",
		}
	}
	if name == asset.Hashed {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	} else {
		header.Set("Cache-Control", "no-cache")
	}
	header.Add("Vary", "Accept-Encoding")
	header.Set("Content-Type", "text/javascript; charset=utf-8")
	tag := asset.hash
	coding := choose(accepted)
	if coding != "" {
		header.Set("Content-Encoding", coding)
		tag += "-" + coding // another representation, another tag (RFC 9110, section 8.8.3.3)
	}
	header.Set("ETag", `"`+tag+`"`)
	content := asset.Bytes(coding)
	header.Set("Content-Length", strconv.Itoa(len(content))) // ServeContent leaves it out if there is a coding
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	return nil
}

// find returns the asset that has the name, or nil.
func find(name string) *Asset {
	for _, a := range Assets() {
		if name == a.Name || name == a.Hashed {
			return a
		}
	}
	return nil
}

// choose returns the coding to use; "" means none.
func choose(accepted []string) string {
	for _, name := range accepted {
		switch name {
		case "gzip", "zstd":
			return name
		case "identity":
			return ""
		}
	}
	return ""
}

func zstandard(content []byte) []byte {
	w, err := zstd.NewWriter(nil,
		zstd.WithEncoderLevel(zstd.SpeedBestCompression), zstd.WithEncoderConcurrency(1),
		zstd.WithWindowSize(128<<10), zstd.WithEncoderCRC(false))
	if err != nil {
		panic(err) // these options are valid
	}
	return w.EncodeAll(content, nil)
}
